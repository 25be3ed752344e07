"""Finds lines that are gone, new or changed between two runs. Lines are known by a key without line numbers."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from itertools import chain

from syncwatch.model.difference import Change, LineDifference, LineFigures
from syncwatch.model.finding import Site

KeyOf = Callable[[Site], Hashable]

PART = 0.1
FLOOR_US = 40.0
"""A time has changed when it differs by more than both `PART` and `FLOOR_US`.

One price is held to 5 % or 20 us of the truth, whichever is more, so that two of one thing may differ by twice that.
"""

_ORDER = {change: place for place, change in enumerate(Change)}


def line_changes(
    before: Iterable[Site], after: Iterable[Site], key_of: KeyOf, *, same_clock: bool, modelled: bool
) -> tuple[LineDifference, ...]:
    """Return every line of either run and what became of it.

    Args:
        before: the sites of the earlier run.
        after: the sites of the later one.
        key_of: what a site is known by while the code around it moves; equal lines of one function are added up.
        same_clock: whether the times of both runs may be compared.
        modelled: whether they are exact, so that any difference is a change.
    """
    old, new = _grouped(before, key_of), _grouped(after, key_of)
    found = []
    for key in dict.fromkeys(chain(old, new)):
        was, now = _figures(old.get(key)), _figures(new.get(key))
        site = (new.get(key) or old[key])[0]
        change = _change(was, now, same_clock=same_clock, modelled=modelled)
        found.append(
            LineDifference(
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
    )


def _sum(parts: Iterable[float | None]) -> float | None:
    known: list[float] = []
    for part in parts:
        if part is None:
            return None
        known.append(part)
    return math.fsum(known)


def _change(was: LineFigures | None, now: LineFigures | None, *, same_clock: bool, modelled: bool) -> Change:
    if now is None:
        return Change.GONE
    if was is None:
        return Change.NEW
    # Seven calls in three steps are no exact number.
    if len(was.lines) != len(now.lines) or not math.isclose(was.calls_per_step, now.calls_per_step, rel_tol=1e-9):
        return Change.CHANGED
    times = ((was.host_blocked_us, now.host_blocked_us), (was.gpu_idle_us, now.gpu_idle_us))
    if same_clock and any(_moved(old, new, modelled=modelled) for old, new in times):
        return Change.CHANGED
    return Change.SAME


def _moved(old: float | None, new: float | None, *, modelled: bool) -> bool:
    if old is None or new is None:
        return False
    if modelled:
        return not math.isclose(old, new, rel_tol=1e-9)
    return abs(new - old) > max(FLOOR_US, PART * max(old, new))


def _place(line: LineDifference) -> tuple[int, float, float, str, str, int]:
    figures = [each for each in (line.before, line.after) if each is not None]
    cost = max((each.gpu_idle_us or 0.0) + (each.host_blocked_us or 0.0) for each in figures)
    calls = max(each.calls_per_step for each in figures)
    return _ORDER[line.change], -cost, -calls, line.file, line.code, figures[0].lines[0]
