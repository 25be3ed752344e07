"""The scenario `kernel-warmup`: what it is called, its variants and its options. The work is in `workload`.

Each step is a fresh process with an empty Triton cache. Before it serves, it compiles its kernels, and benchmarks every
configuration of each on the GPU, which waits three times for each. In `naive` the last kernel has a block size for
each class of lengths, so that it takes three warm-up passes; in `precomputed` the block size is fixed, and one will do.
Source: vLLM #38343. `shipped` brings one configuration of each kernel along, compiles them side by side and benchmarks
none. After that, requests of lengths that the warm-up has not seen must neither compile nor benchmark anything.
"""

from __future__ import annotations

from dataclasses import dataclass

from syncwatch.bench import Defaults, Scenario, option
from syncwatch_scenarios.hybrid_model.sizes import PRESETS


@dataclass(frozen=True, slots=True)
class WarmupOptions:
    """What the user may choose."""

    # On a GPU the heads of the published figure's model.
    preset: str = option("qwen3-next-80b", on_virtual="tiny", choices=tuple(PRESETS), help="Heads of the model.")
    seed: int = option(0, help="Seed of the inputs.")


SCENARIO = Scenario(
    name="kernel-warmup",
    summary=(
        "A server's start: Triton block sizes derived from the length, against one fixed size, against shipped ones"
    ),
    variants=("naive", "precomputed", "shipped"),
    options=WarmupOptions,
    steps=Defaults(cuda=3, virtual=1),
    warmup=Defaults(cuda=0, virtual=0),
    workload="syncwatch_scenarios.kernel_warmup.workload:build",
    own_run="syncwatch_scenarios.kernel_warmup.workload:open_run",
)
