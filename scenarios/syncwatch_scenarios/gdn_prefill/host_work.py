"""What the host does in a step besides launching, as a serving engine does, against what the GPU has to do.

That decides what a wait costs. Where the GPU is always behind, the host makes a wait good again while the GPU works;
where the host is always behind, the GPU has nothing that could be waited for. In between, with steps that differ, now
the one and now the other is late: run-ahead evens that out, and a wait takes the run-ahead away.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import Enum

from typing_extensions import assert_never

from syncwatch_scenarios.hybrid_model.sizes import ModelShape

LIGHT_US = 1000
"""What an engine does at least. vLLM 0.18.1 takes 0.84 ms for one mixed build of its GDN metadata alone (H200 host)."""
SPREAD = 0.5
"""Chosen: steps in which requests come and go have more to do than others."""
LAUNCH_US_PER_LAYER = 490
"""Launching one layer of `gdn-prefill`. Measured on an H200 host (benchmarks/prefill_pace.py): 483 to 496 us."""
_SHORT_TOKENS = 1024
"""Where vLLM #38361's review found launching to take over twice the time of the kernels."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast the GPU is with one preset of `gdn-prefill`."""

    gpu_ns: int
    """GPU time of one token in one layer."""

    balanced_tokens: int
    """Tokens a step at which the GPU takes about one and a half times as long as the launches, so that a balance is
    reached with less work of the host's own than there is launching."""


# Measured on an H200 with 4,096, 3,072 and 1,024 tokens (benchmarks/prefill_pace.py); 239, 288 and 900 ns with 8,192.
# `tiny` has kernels that are shorter than their launches: it is host-bound whatever it is asked to be.
PACES = {
    "tiny": Pace(0, 150),
    "qwen3.5-2b": Pace(245, 3072),
    "qwen3-next-80b": Pace(299, 2560),
    "qwen3.5-397b": Pace(1004, 768),
}


class Regime(str, Enum):
    """Who is late."""

    GPU_BOUND = "gpu-bound"
    """The host has little to do besides launching."""
    BALANCED = "balanced"
    """Host and GPU take equally long."""
    HOST_BOUND = "host-bound"
    """The host takes twice as long as the GPU."""


def tokens_in(regime: Regime, preset: str, tokens: int) -> int:
    """Return the tokens a step of `preset`, which has `tokens` otherwise, where the user gave none."""
    if regime is Regime.GPU_BOUND:
        return tokens
    if regime is Regime.BALANCED:
        return PACES[preset].balanced_tokens
    if regime is Regime.HOST_BOUND:
        return min(tokens, _SHORT_TOKENS)
    assert_never(regime)


def host_work_in(regime: Regime, preset: str, shape: ModelShape) -> HostWork:
    """Return the host's own work that puts a step of `shape` into `regime`, on an H200 and its host."""
    gpu_us = PACES[preset].gpu_ns * shape.layers * shape.tokens // 1000
    launches_us = LAUNCH_US_PER_LAYER * shape.layers
    return HostWork(max(LIGHT_US, _host_us(regime, gpu_us) - launches_us), SPREAD)


def _host_us(regime: Regime, gpu_us: int) -> int:
    """Return the host's time for a step, launches included."""
    if regime is Regime.GPU_BOUND:
        return 0
    if regime is Regime.BALANCED:
        return gpu_us
    if regime is Regime.HOST_BOUND:
        return 2 * gpu_us
    assert_never(regime)


@dataclass(frozen=True, slots=True)
class HostWork:
    """Work of the host in each step: scheduling, sampling's bookkeeping, detokenizing."""

    mean_us: int
    spread: float
    """How far a step lies from the mean, at most, as a share of it; steps are spread evenly."""

    def us_of(self, seed: int, index: int) -> float:
        """Return the work of step `index`, in us; the same for every variant."""
        drawn = random.Random(f"{seed}, host work of step {index}").uniform(-self.spread, self.spread)
        return self.mean_us * (1 + drawn)
