"""Answers: what do the prices of many waits come to, a step? One unmeasured part leaves the whole unmeasured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from syncwatch.analyse.price import Price

_US = 1000.0


@dataclass(frozen=True, slots=True)
class Totals:
    """The prices of some waits, in microseconds a step."""

    blocked_us: float | None
    drain_us: float | None
    overhead_us: float | None
    idle_us: float | None
    stream_idle_us: float | None


NOT_MEASURED = Totals(None, None, None, None, None)


def totals(costs: Sequence[Price | None], steps: int) -> Totals:
    """Return what `costs` add up to in each of `steps`."""
    known = [cost for cost in costs if cost is not None]
    if len(known) < len(costs):
        return NOT_MEASURED
    return Totals(
        blocked_us=_a_step((cost.blocked_ns for cost in known), steps),
        drain_us=_a_step((cost.drain_ns for cost in known), steps),
        overhead_us=_a_step((cost.overhead_ns for cost in known), steps),
        idle_us=_a_step((cost.idle_ns for cost in known), steps),
        stream_idle_us=_a_step((cost.stream_idle_ns for cost in known), steps),
    )


def us_a_step(total_ns: int, steps: int) -> float:
    """Return nanoseconds in all as microseconds a step."""
    return total_ns / _US / steps


def _a_step(parts: Iterable[int | None], steps: int) -> float | None:
    total = 0
    for part in parts:
        if part is None:
            return None
        total += part
    return us_a_step(total, steps)
