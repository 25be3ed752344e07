"""Finds where one host thread waited for another, as the caller of `backward` does for autograd's."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from statistics import median_low

from syncwatch.analyse.replay.items import Item

_LONG_NS = 30_000
"""A thread that calls nothing for so long, and for `_TIMES` its usual time, may wait for another."""
_TIMES = 3
_SOON_NS = 1_000_000
"""Within so long after the other's last call the thread that waited for it calls again, or begins what it was given."""


def handovers(items: Sequence[Item]) -> list[tuple[int, int] | None]:
    """Return, for each of `items`, the call of another thread that its own thread waited for.

    It did where it called nothing for long, and the other thread began and ended calls within that time and called
    nothing around it: so the two took turns. The number beside is the time from the end of that call to the begin of
    this one, in ns.
    """
    found: list[tuple[int, int] | None] = [None] * len(items)
    of_thread: dict[int, list[int]] = defaultdict(list)
    for place, item in enumerate(items):
        if item.event is None:
            of_thread[item.thread].append(place)
    if len(of_thread) < 2:
        return found
    usual = {thread: _usual(items, places) for thread, places in of_thread.items()}
    begins = {thread: [items[place].start for place in places] for thread, places in of_thread.items()}
    for thread, places in of_thread.items():
        for before, place in zip([None, *places], places, strict=False):
            since = items[before].end if before is not None else items[0].start
            now = items[place].start
            if now - since < max(_LONG_NS, _TIMES * usual[thread]):
                continue
            best: tuple[int, int] | None = None
            for other, starts in begins.items():
                if other == thread:
                    continue
                last = bisect_left(starts, now) - 1
                if last < 0:
                    continue
                ended = items[of_thread[other][last]].end
                if (
                    since < starts[last]
                    and since < ended <= now
                    and now - ended < _SOON_NS
                    and (best is None or now - ended < best[1])
                ):
                    best = of_thread[other][last], now - ended
            found[place] = best
    return found


def _usual(items: Sequence[Item], places: Sequence[int]) -> int:
    gaps = [items[place].start - items[before].end for before, place in pairwise(places)]
    return median_low(gaps) if gaps else 0
