"""What became of each line that waits, between two runs: gone, new, changed, or as before."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from syncwatch.model.report import Site
from syncwatch.model.run_comparison import Change, LineComparison, LineFigures

KeyOf = Callable[[Site], Hashable]

PART = 0.1
FLOOR_US = 40.0
"""A time has changed when it differs by more than both `PART` and `FLOOR_US`.

One price is held to 5 % or 20 us of the truth, whichever is more, so that two of one thing may differ by twice that.
"""
GAIN_PART, STEP_PART = 0.2, 0.02
"""A gain has changed when it differs by more than this part of itself, this part of the step, and `FLOOR_US`.

One gain is held to 10 %, 1 % of the step or 20 us of the truth, whichever is more.
"""

_ORDER = {change: place for place, change in enumerate(Change)}


def line_changes(
    before: Iterable[Site],
    after: Iterable[Site],
    key_of: KeyOf,
    *,
    same_clock: bool,
    modelled: bool,
    step_us: float = 0.0,
) -> tuple[LineComparison, ...]:
    """Return every line of either run and what became of it.

    Args:
        before: the sites of the earlier run.
        after: the sites of the later one.
        key_of: what a site is known by while the code around it moves; equal lines of one function are added up.
        same_clock: whether the times of both runs may be compared.
        modelled: whether they are exact, so that any difference is a change.
        step_us: the longer step of the two, which says how exact a gain is.
    """
    limits = _Limits(same_clock, modelled, step_us)
    old, new = _grouped(before, key_of), _grouped(after, key_of)
    found = []
    for key in dict.fromkeys(chain(old, new)):
        was, now = _figures(old.get(key)), _figures(new.get(key))
        site = (new.get(key) or old[key])[0]
        change = _change(was, now, limits)
        found.append(
            LineComparison(
                change=change,
                code=site.code,
                title=site.title,
                file=site.file,
                function=site.function,
                source=site.source,
                before=was,
                after=now,
                waiter=site.waiter,
                exact_line=site.exact_line,
            )
        )
    return tuple(sorted(found, key=_place))


def _grouped(sites: Iterable[Site], key_of: KeyOf) -> Mapping[Hashable, Sequence[Site]]:
    grouped: dict[Hashable, list[Site]] = defaultdict(list)
    for site in sites:
        grouped[key_of(site)].append(site)
    return dict(grouped)


def _figures(sites: Sequence[Site] | None) -> LineFigures | None:
    if not sites:
        return None
    return LineFigures(
        lines=tuple(sorted({site.line for site in sites})),
        calls_per_step=math.fsum(site.calls_per_step for site in sites),
        host_blocked_us=_sum(site.host_blocked_us for site in sites),
        gpu_idle_us=_sum(site.gpu_idle_us for site in sites),
        gain_us=_sum(site.gain_us for site in sites),
    )


def _sum(parts: Iterable[float | None]) -> float | None:
    known: list[float] = []
    for part in parts:
        if part is None:
            return None
        known.append(part)
    return math.fsum(known)


@dataclass(frozen=True, slots=True)
class _Limits:
    """How far two measurements of one thing may be apart."""

    same_clock: bool
    modelled: bool
    step_us: float

    def moved(self, old: float | None, new: float | None) -> bool:
        """Return whether a time changed."""
        return self._differ(old, new, PART, FLOOR_US)

    def gained(self, old: float | None, new: float | None) -> bool:
        """Return whether a gain changed."""
        return self._differ(old, new, GAIN_PART, max(FLOOR_US, STEP_PART * self.step_us))

    def _differ(self, old: float | None, new: float | None, part: float, floor_us: float) -> bool:
        if old is None or new is None or not self.same_clock:
            return False
        if self.modelled:
            return not math.isclose(old, new, rel_tol=1e-9)
        return abs(new - old) > max(floor_us, part * max(abs(old), abs(new)))


def _change(was: LineFigures | None, now: LineFigures | None, limits: _Limits) -> Change:
    if now is None:
        return Change.GONE
    if was is None:
        return Change.NEW
    # Seven calls in three steps are no exact number.
    if len(was.lines) != len(now.lines) or not math.isclose(was.calls_per_step, now.calls_per_step, rel_tol=1e-9):
        return Change.CHANGED
    times = ((was.host_blocked_us, now.host_blocked_us), (was.gpu_idle_us, now.gpu_idle_us))
    if limits.gained(was.gain_us, now.gain_us) or any(limits.moved(old, new) for old, new in times):
        return Change.CHANGED
    return Change.SAME


def _place(line: LineComparison) -> tuple[int, float, float, float, str, str, int]:
    figures = [each for each in (line.before, line.after) if each is not None]
    gain = max(each.gain_us or 0.0 for each in figures)
    cost = max((each.gpu_idle_us or 0.0) + (each.host_blocked_us or 0.0) for each in figures)
    calls = max(each.calls_per_step for each in figures)
    return _ORDER[line.change], -gain, -cost, -calls, line.file, line.code, figures[0].lines[0]
