"""The scenario `gdn-prefill`: what it is called, its variants and its options. The work is in `workload`.

A stack of hybrid layers at the shapes of served models, launched eagerly on batches of sequences. All variants launch
the same kernels. `naive` leaves the chunk metadata to the ops, which read the lengths back from the GPU: once a step,
or with `--cache-miss` once a GDN layer. `precomputed` counts the chunks on the host, where the scheduler knows the
lengths anyway. `precomputed-pageable`, which runs only where it is asked for, does so too, and sends them from pageable
memory. Source: vLLM #38361.
"""

from __future__ import annotations

from dataclasses import dataclass

from syncwatch.bench import Scenario, option
from syncwatch_scenarios.gdn_prefill.host_work import Regime
from syncwatch_scenarios.hybrid_model.sizes import MAX_LAYERS, PRESETS

MAX_TOKENS = 1_000_000


@dataclass(frozen=True, slots=True)
class PrefillOptions:
    """What the user may choose."""

    preset: str = option("qwen3.5-397b", on_virtual="tiny", choices=tuple(PRESETS), help="Model shapes.")
    tokens: int | None = option(
        None, help="Tokens a step.", minimum=1, maximum=MAX_TOKENS, unset="the preset's, or the regime's"
    )
    batch: int | None = option(None, help="Sequences a step.", minimum=1, maximum=MAX_TOKENS, unset="the preset's")
    layers: int | None = option(None, help="Layers of the stack.", minimum=1, maximum=MAX_LAYERS, unset="the preset's")
    cache_miss: bool = option(False, help="Defeat identity caches: one host read a layer.")
    regime: str | None = option(
        None, choices=tuple(each.value for each in Regime), help="The host's own work a step.", unset="none"
    )
    lengths: str = option("ragged", help="Sequences of a step: 1x8192, 8x1024, 512,100 or ragged.")
    seed: int = option(0, help="Seed of weights and batches.")


SCENARIO = Scenario(
    name="gdn-prefill",
    summary="Gated DeltaNet prefill: chunk metadata read back from the GPU, against counted on the host",
    variants=("naive", "precomputed"),
    extra_variants=("precomputed-pageable",),
    options=PrefillOptions,
    workload="syncwatch_scenarios.gdn_prefill.workload:build",
)
