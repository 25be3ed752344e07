"""Answers: how does a scenario stand in for what a serving engine computes on the host besides launching?"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

from syncwatch.sense.virtual.device import running_engine


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


def compute_for(microseconds: float) -> None:
    """Keep the calling thread busy for `microseconds`, the GIL held.

    On the virtual device its clock is moved on instead, so that the same steps always cost the same.
    """
    duration_ns = round(microseconds * 1000)
    engine = running_engine()
    if engine is not None:
        engine.clock.work(duration_ns)
        return
    end = time.perf_counter_ns() + duration_ns
    while time.perf_counter_ns() < end:
        pass
