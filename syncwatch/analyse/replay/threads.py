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
    threads = [_Thread([(items[place].start, items[place].end) for place in places]) for places in of_thread.values()]
    for mine, (thread, places) in zip(threads, of_thread.items(), strict=True):
        for number, place in enumerate(places):
            since = mine.spans[number - 1][1] if number else items[0].start
            if not mine.is_long(items[place].start - since):
                continue
            turns = [
                (items[place].start - theirs.spans[last][1], theirs_at[last])
                for theirs, (other, theirs_at) in zip(threads, of_thread.items(), strict=True)
                if other != thread and (last := theirs.turn_within(since, items[place].start)) is not None
            ]
            if turns:
                ago, call = min(turns)
                found[place] = call, ago
    return found


class _Thread:
    """The calls of one thread, as begins and ends in ns."""

    def __init__(self, spans: Sequence[tuple[int, int]]) -> None:
        self.spans = spans
        gaps = [after[0] - before[1] for before, after in pairwise(spans)]
        self._usual = median_low(gaps) if gaps else 0

    def is_long(self, gap: int) -> bool:
        """Return whether it mostly calls again sooner."""
        return gap >= max(_LONG_NS, _TIMES * self._usual)

    def turn_within(self, since: int, until: int) -> int | None:
        """Return the last call of a turn that lies between two moments, before and after which it paused for long.

        None where there is no such turn: it called all the time, or a part of the turn lies outside.
        """
        first, behind = bisect_left(self.spans, (since,)), bisect_left(self.spans, (until,))
        last = behind - 1
        if last < first or self.spans[last][1] > until or until - self.spans[last][1] >= _SOON_NS:
            return None
        if first > 0 and not self.is_long(self.spans[first][0] - self.spans[first - 1][1]):
            return None
        if behind < len(self.spans) and not self.is_long(self.spans[behind][0] - self.spans[last][1]):
            return None
        return last
