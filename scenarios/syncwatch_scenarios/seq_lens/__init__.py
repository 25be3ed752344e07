"""The scenario `seq-lens`: what it is called, its variants and its options. The work is in `workload`.

With asynchronous speculative decoding the lengths exist on the GPU only: they depend on drafts that were rejected
there. Seven places of a step want them on the host. In `naive` each of them copies them back, and waits. `precomputed`
hands them an upper bound that the scheduler knows, exact on prefill rows; kernels mask with the true lengths.
`drifting`, which runs only where it is asked for, has the bound as it was first merged upstream: it grows with every
rejected draft, and so do the plans that are made with it. Source: vLLM #40654.
"""

from __future__ import annotations

from dataclasses import dataclass

from syncwatch.bench import Scenario, option
from syncwatch_scenarios.hybrid_model.sizes import MAX_LAYERS
from syncwatch_scenarios.seq_lens.traffic import TRAFFIC

MAX_TOKENS = 65536
MAX_REQUESTS = 4096


@dataclass(frozen=True, slots=True)
class SeqLensOptions:
    """What the user may choose."""

    preset: str = option("qwen3.5-2b", on_virtual="tiny", choices=tuple(TRAFFIC), help="Model shapes and traffic.")
    tokens: int | None = option(
        None, help="Tokens a step, at most.", minimum=1, maximum=MAX_TOKENS, unset="the preset's"
    )
    batch: int | None = option(
        None, help="Requests at once, at most.", minimum=1, maximum=MAX_REQUESTS, unset="the preset's"
    )
    layers: int | None = option(None, help="Layers of the stack.", minimum=1, maximum=MAX_LAYERS, unset="the preset's")
    seed: int = option(0, help="Seed of weights and requests.")


SCENARIO = Scenario(
    name="seq-lens",
    summary="Speculative serving: sequence lengths read back from the GPU, against an upper bound on the host",
    variants=("naive", "precomputed"),
    extra_variants=("drifting",),
    options=SeqLensOptions,
    workload="syncwatch_scenarios.seq_lens.workload:build",
)
