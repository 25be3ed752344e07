"""The scenario `spec-decode`: what it is called, its variants and its options. The work is in `workload`.

Continuous batching with multi-token prediction, scheduled one step ahead of the GPU. Both variants launch the same
kernels on the same schedule. `naive` indexes with boolean masks on the GPU and lets `repeat_interleave` find out the
size of its result: eight waits for a mixed batch, two for a speculative one, in the metadata builder of each of three
KV-cache groups. `precomputed` keeps the masks on the host, where the scheduler made them. Source: vLLM #38047.
"""

from __future__ import annotations

from dataclasses import dataclass

from syncwatch.bench import Scenario, option
from syncwatch_scenarios.hybrid_model.sizes import MAX_LAYERS
from syncwatch_scenarios.spec_decode.presets import PRESETS

MAX_TOKENS = 1_000_000
MAX_REQUESTS = 1024


@dataclass(frozen=True, slots=True)
class SpecDecodeOptions:
    """What the user may choose."""

    preset: str = option("qwen3.5-2b", on_virtual="tiny", choices=tuple(PRESETS), help="Model shapes and load.")
    tokens: int | None = option(
        None, help="Tokens a step, at most.", minimum=1, maximum=MAX_TOKENS, unset="the preset's"
    )
    batch: int | None = option(
        None, help="Requests at once, at most.", minimum=1, maximum=MAX_REQUESTS, unset="the preset's"
    )
    layers: int | None = option(None, help="Layers of the stack.", minimum=1, maximum=MAX_LAYERS, unset="the preset's")
    seed: int = option(0, help="Seed of weights and requests.")


SCENARIO = Scenario(
    name="spec-decode",
    summary="Serving with speculative decoding: rows chosen by masks on the GPU, against masks on the host",
    variants=("naive", "precomputed"),
    options=SpecDecodeOptions,
    workload="syncwatch_scenarios.spec_decode.workload:build",
)
