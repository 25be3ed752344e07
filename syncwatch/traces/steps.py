"""Tells which ranges of a trace are its steps, and which step a moment lies in, for imports and the CUDA sensor."""

from __future__ import annotations

import difflib
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from syncwatch.errors import UsageError
from syncwatch.model.events import STEP_RANGE, WINDOW_RANGE, RangeEvent, Step

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


class Window:
    """Where a run was recorded by syncwatch's own sensor, only what lies between its marks counts."""

    def __init__(self, ranges: Iterable[RangeEvent], base_ns: int = 0) -> None:
        """Take the ranges of a process; `base_ns` is added to their times."""
        marks = [(each.start_ns + base_ns, each.end_ns + base_ns) for each in ranges if each.name == WINDOW_RANGE]
        self.span = (min(marks)[0], max(marks)[1]) if marks else None
        """From the begin of the first mark to the end of the last; None where there is none."""

    def holds(self, moment_ns: int) -> bool:
        """Return whether a host call of this moment counts."""
        return self.span is None or self.span[0] <= moment_ns <= self.span[1]
