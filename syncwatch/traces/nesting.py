"""Tells which ranges, operators and step of a trace lie around a moment, for the imports."""

from __future__ import annotations

import difflib
from array import array
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import numpy as np

from syncwatch.errors import UsageError
from syncwatch.model.events import STEP_RANGE, RangeEvent, Step

_NONE = -1
_MOST_LOOKED_AT = 1000
"""Spans looked at for one moment, those that cross and have ended among them: no real trace has as many."""

MAX_NESTED = 64
"""Innermost ranges kept of each nest; a deeper one is cut at its outer end."""


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
    """Tells the spans around a moment, innermost first: of two that cross, the later one.

    The innermost span changes only where one begins or ends. All these moments are computed once, so that a question
    costs one binary search, however deep and however many the spans are.
    """

    def __init__(self, spans: Spans) -> None:
        self._spans = spans
        self._outer = array("q", [_NONE]) * len(spans.starts)
        self._moments = array("q")
        self._innermost = array("q")
        self._sweep()

    def around(self, moment_ns: int, most: int = _MOST_LOOKED_AT) -> list[int]:
        """Return the indices of the innermost spans, at most so many, that have begun at the moment and not ended."""
        at = bisect_right(self._moments, moment_ns) - 1
        index = self._innermost[at] if at >= 0 else _NONE
        found: list[int] = []
        ends, outer, left = self._spans.ends, self._outer, _MOST_LOOKED_AT
        while index != _NONE and left and len(found) < most:
            if ends[index] > moment_ns:
                found.append(index)
            index, left = outer[index], left - 1
        return found

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


class Nests:
    """Names each distinct nest of ranges once, outermost first, in the order it was asked for."""

    def __init__(self, ranges: Iterable[RangeEvent]) -> None:
        by_thread: dict[int, list[RangeEvent]] = defaultdict(list)
        for each in ranges:
            by_thread[each.thread].append(each)
        self._ranges = by_thread
        self._nestings = {thread: Nesting(_spans_of(found)) for thread, found in by_thread.items()}
        self._numbers: dict[tuple[str, ...], int] = {}
        self.names: list[tuple[str, ...]] = []
        """The nests found so far, by their number."""

    def around(self, thread: int, moment_ns: int) -> int | None:
        """Return the number of the nest that holds `moment_ns`; None outside every range, and where one just ended."""
        nesting = self._nestings.get(thread)
        if nesting is None:
            return None
        ranges, live = self._ranges[thread], nesting.around(moment_ns, MAX_NESTED)
        return self._number(tuple([ranges[index].name for index in reversed(live)])) if live else None

    def _number(self, names: tuple[str, ...]) -> int:
        number = self._numbers.get(names)
        if number is None:
            number = self._numbers[names] = len(self.names)
            self.names.append(names)
        return number


def _spans_of(ranges: list[RangeEvent]) -> Spans:
    """Return `ranges` as spans whose names are their places."""
    starts, ends = [each.start_ns for each in ranges], [each.end_ns for each in ranges]
    return Spans(array("q", starts), array("q", ends), array("q", range(len(ranges))))


_USUAL = (f"{STEP_RANGE} *", STEP_RANGE, "ProfilerStep#*")
"""Ranges that are steps where nothing else was asked: ours, which have a number where they are watched, and those of
`torch.profiler.profile.step`."""


def steps_of(ranges: Iterable[RangeEvent], asked: str | None) -> tuple[Step, ...]:
    """Return the steps that the ranges called `asked` mark, in order of time; none where no usual name is found.

    Of ranges that lie in one another only the outermost counts, whatever its thread.

    Args:
        ranges: of one process.
        asked: a name, or a pattern such as `step *`; `naive/step *` for those inside ranges called `naive`; None for
            the names that syncwatch and torch.profiler give.

    Raises:
        UsageError: if no range has the name that was asked for, with those that are near.
    """
    known = list(ranges)
    for pattern in _USUAL if asked is None else (asked,):
        found = _named(known, pattern) or _inside(known, pattern)
        if found:
            outermost = _outermost(found)
            return tuple(Step(index, False, each.start_ns, each.end_ns) for index, each in enumerate(outermost))
    if asked is None:
        return ()
    names = sorted({each.name for each in known})
    near = difflib.get_close_matches(asked, names, n=3) or names[:3]
    hint = f" There are {', '.join(repr(name) for name in near)}." if near else " It has no ranges at all."
    raise UsageError(f"No range of the trace is called {asked!r}.{hint}")


def _named(ranges: Iterable[RangeEvent], pattern: str) -> list[RangeEvent]:
    return [each for each in ranges if each.name == pattern or fnmatchcase(each.name, pattern)]


def _inside(ranges: Sequence[RangeEvent], pattern: str) -> list[RangeEvent]:
    """Return the ranges named behind the first slash that lie in one named before it."""
    outer, slash, inner = pattern.partition("/")
    around = _outermost(_named(ranges, outer)) if slash else []
    starts = [each.start_ns for each in around]
    found = []
    for each in _named(ranges, inner) if around else ():
        before = bisect_right(starts, each.start_ns) - 1
        if before >= 0 and each.end_ns <= around[before].end_ns:
            found.append(each)
    return found


def _outermost(ranges: Sequence[RangeEvent]) -> list[RangeEvent]:
    kept: list[RangeEvent] = []
    for each in sorted(ranges, key=lambda span: (span.start_ns, -span.end_ns)):
        if not kept or each.start_ns >= kept[-1].end_ns:
            kept.append(each)
    return kept


class StepClock:
    """Tells which step a moment of the host lies in."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = sorted(steps, key=lambda step: step.start_ns)
        self._starts = [step.start_ns for step in self._steps]

    def at(self, moment_ns: int) -> int | None:
        """Return the index of the step; None between steps."""
        before = bisect_right(self._starts, moment_ns) - 1
        if before < 0 or self._steps[before].end_ns < moment_ns:
            return None
        return self._steps[before].index
