"""Adds up the prices of many waits, a step. One unmeasured part leaves the whole unmeasured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from syncwatch.model.wait import Price

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
    blocked = drain = idle = stream_idle = 0
    drained = idled = stream_idled = True
    for cost in costs:
        if cost is None:
            return NOT_MEASURED
        blocked += cost.blocked_ns
        # One pass: a trace has hundreds of thousands of waits.
        if cost.drain_ns is None:
            drained = False
        else:
            drain += cost.drain_ns
        if cost.idle is None:
            idled = False
        else:
            idle += cost.idle[1] - cost.idle[0]
        if cost.stream_idle is None:
            stream_idled = False
        else:
            stream_idle += cost.stream_idle[1] - cost.stream_idle[0]
    return Totals(
        blocked_us=us_a_step(blocked, steps),
        drain_us=us_a_step(drain, steps) if drained else None,
        overhead_us=us_a_step(blocked - drain, steps) if drained else None,
        idle_us=us_a_step(idle, steps) if idled else None,
        stream_idle_us=us_a_step(stream_idle, steps) if stream_idled else None,
    )


def us_a_step(total_ns: int, steps: int) -> float:
    """Return nanoseconds in all as microseconds a step."""
    return total_ns / _US / steps
