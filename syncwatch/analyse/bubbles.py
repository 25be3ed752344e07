"""How long the GPU stood idle because the host had waited. Integers only."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from syncwatch.model.wait import Span


def bubbles(waits: Sequence[Span], busy: Sequence[Span], end_ns: int) -> tuple[Span, ...]:
    """Return the bubble that follows each wait, as the time span in which the GPU stood idle.

    A bubble begins when the GPU's queue has run empty, within the wait, and ends with the next work on the GPU, with
    the next wait (its idle time is its own), or with the recording. It is empty where work was queued behind the wait,
    so that the GPU never stood still. No nanosecond is charged twice.

    Args:
        waits: host waits, in any order.
        busy: what ran on the GPU, in order and without overlap, as `timeline.union` gives it.
        end_ns: the end of the recording.
    """
    starts = [start for start, _ in busy]
    begins = sorted(start for start, _ in waits)
    charged_until = 0
    result = [(resumed, resumed) for _, resumed in waits]
    for resumed, wait_start, index in sorted((end, start, place) for place, (start, end) in enumerate(waits)):
        following = bisect_right(starts, resumed)
        drained = busy[following - 1][1] if following else wait_start
        if drained > resumed:
            continue
        low = max(wait_start, drained, charged_until)
        next_work = starts[following] if following < len(starts) else end_ns
        next_wait = bisect_left(begins, resumed) if wait_start < resumed else bisect_right(begins, resumed)
        high = min(next_work, begins[next_wait] if next_wait < len(begins) else end_ns, end_ns)
        if low < high:
            result[index] = (low, high)
        charged_until = max(charged_until, high)
    return tuple(result)
