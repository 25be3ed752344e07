"""Answers: which spans of a host thread lay around a moment? For hundreds of thousands of them, in columns."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

_NONE = -1


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
