"""Tells which ranges or operators of a thread lie around a moment, for the import and the CUDA sensor."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from syncwatch.model.events import RangeEvent

_NONE = -1

MAX_NESTED = 64
"""Innermost ranges kept of each nest; a deeper one is cut at its outer end."""


class Nests:
    """Names each distinct nest of ranges once, outermost first, in the order it was asked for."""

    def __init__(self, ranges: Iterable[RangeEvent]) -> None:
        coming: dict[int, list[RangeEvent]] = defaultdict(list)
        for each in ranges:
            coming[each.thread].append(each)
        for spans in coming.values():
            # The next to begin stands last, the outer one after the inner.
            spans.sort(key=lambda span: (-span.start_ns, span.end_ns))
        self._coming = coming
        self._open: dict[int, list[RangeEvent]] = defaultdict(list)
        self._numbers: dict[tuple[str, ...], int] = {}
        self.names: list[tuple[str, ...]] = []
        """The nests found so far, by their number."""

    def around(self, thread: int, moment_ns: int) -> int | None:
        """Return the number of the nest that holds `moment_ns`; None outside every range, and where one just ended.

        Moments of a thread are to be asked for in their order.
        """
        coming, opened = self._coming.get(thread), self._open[thread]
        while coming and coming[-1].start_ns <= moment_ns:
            each = coming.pop()
            if each.end_ns > moment_ns:
                opened.append(each)
        live: list[RangeEvent] = []
        # Ranges that do not nest can end in any order; each that has ended is looked at once.
        while opened and len(live) < MAX_NESTED:
            each = opened.pop()
            if each.end_ns > moment_ns:
                live.append(each)
        live.reverse()
        opened += live
        return self._number(tuple(each.name for each in live)) if live else None

    def _number(self, names: tuple[str, ...]) -> int:
        number = self._numbers.get(names)
        if number is None:
            number = self._numbers[names] = len(self.names)
            self.names.append(names)
        return number


@dataclass(slots=True)
class Spans:
    """Named spans of one thread, in any order; 24 bytes each."""

    starts: array[int] = field(default_factory=lambda: array("q"))
    ends: array[int] = field(default_factory=lambda: array("q"))
    names: array[int] = field(default_factory=lambda: array("q"))

    def add(self, name: int, start_ns: int, end_ns: int) -> None:
        """Note one; `name` is the number of a name."""
        self.starts.append(start_ns)
        self.ends.append(end_ns)
        self.names.append(name)


class Nesting:
    """Tells the spans around a moment, innermost first; where two cross, the later one lies within the earlier one.

    The innermost span changes only where one begins or ends. All these moments are computed once, so that a question
    costs one binary search, however deep and however many the spans are.
    """

    def __init__(self, spans: Spans) -> None:
        self._spans = spans
        self._outer = array("q", [_NONE]) * len(spans.starts)
        self._moments = array("q")
        self._innermost = array("q")
        self._sweep()

    def around(self, moment_ns: int) -> Iterator[int]:
        """Yield the index of each span around the moment."""
        at = bisect_right(self._moments, moment_ns) - 1
        index = self._innermost[at] if at >= 0 else _NONE
        while index != _NONE:
            yield index
            index = self._outer[index]

    def _sweep(self) -> None:
        starts, ends = self._spans.starts, self._spans.ends
        open_: list[int] = []
        for index in _outermost_first(starts, ends):
            start = starts[index]
            while open_ and ends[open_[-1]] <= start:
                self._close(open_, ends[open_[-1]])
            self._outer[index] = open_[-1] if open_ else _NONE
            open_.append(index)
            self._moments.append(start)
            self._innermost.append(index)
        while open_:
            self._close(open_, ends[open_[-1]])

    def _close(self, open_: list[int], moment: int) -> None:
        open_.pop()
        # A span that outlives the one around it closes both.
        self._moments.append(max(moment, self._moments[-1]))
        self._innermost.append(open_[-1] if open_ else _NONE)


def _outermost_first(starts: array[int], ends: array[int]) -> list[int]:
    if not starts:
        return []
    order: list[int] = np.lexsort((-np.frombuffer(ends, np.int64), np.frombuffer(starts, np.int64))).tolist()
    return order
