"""What each line costs a step: calls, host time, GPU idle time and bytes, added up by line."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import groupby
from typing import Any

from syncwatch.analyse.timeline import CountedSteps
from syncwatch.model.analysis import AnalysedWait, Finding, Price
from syncwatch.model.events import STEP_RANGE, CopyEvent, Direction, SyncEvent
from syncwatch.model.report import NO_LINE, SharedGain, Site
from syncwatch.model.session import Line, Recording

_US = 1000.0


@dataclass(frozen=True, slots=True)
class Totals:
    """The prices of some waits, in microseconds a step."""

    blocked_us: float | None
    drain_us: float | None
    overhead_us: float | None
    bubble_us: float | None
    stream_bubble_us: float | None


NOT_MEASURED = Totals(None, None, None, None, None)


def totals(costs: Sequence[Price | None], steps: int) -> Totals:
    """Return what `costs` add up to in each of `steps`."""
    blocked = drain = bubble = stream_bubble = 0
    drained = bubbles_known = stream_bubbles_known = True
    for cost in costs:
        if cost is None:
            return NOT_MEASURED
        blocked += cost.blocked_ns
        # One pass: a trace has hundreds of thousands of waits.
        if cost.drain_ns is None:
            drained = False
        else:
            drain += cost.drain_ns
        if cost.bubble is None:
            bubbles_known = False
        else:
            bubble += cost.bubble[1] - cost.bubble[0]
        if cost.stream_bubble is None:
            stream_bubbles_known = False
        else:
            stream_bubble += cost.stream_bubble[1] - cost.stream_bubble[0]
    return Totals(
        blocked_us=us_a_step(blocked, steps),
        drain_us=us_a_step(drain, steps) if drained else None,
        overhead_us=us_a_step(blocked - drain, steps) if drained else None,
        bubble_us=us_a_step(bubble, steps) if bubbles_known else None,
        stream_bubble_us=us_a_step(stream_bubble, steps) if stream_bubbles_known else None,
    )


def us_a_step(total_ns: int, steps: int) -> float:
    """Return nanoseconds in all as microseconds a step."""
    return total_ns / _US / steps


_STEP = f"{STEP_RANGE} "
_StackKey = tuple[int, int]
SiteKey = tuple[str, str, int, str, "str | None", "str | None", "str | None"]
"""Cause, file, line, function; the call and the range where there is no line; the reason for which it is allowed."""


@dataclass(frozen=True, slots=True)
class GainFigures:
    """What a step would gain without one site; each field is one of `Site` too, where it is explained."""

    us: float | None = None
    ci_us: tuple[float, float] | None = None
    shared: SharedGain | None = None
    moves_to: Line | None = None
    moves_us: float | None = None


UNKNOWN_GAIN = GainFigures()

_FOUND = tuple(field.name for field in fields(Finding))
"""What a site takes over from the finding of its waits: each field by its name."""


@dataclass(slots=True)
class _Tally:
    """What one site adds up to over the steps that count."""

    finding: Finding
    sync: SyncEvent
    calls: int = 0
    prices: list[Price | None] = field(default_factory=list)
    stacks: set[_StackKey] = field(default_factory=set)
    steps: Counter[int | None] = field(default_factory=Counter)
    within: dict[int | None, None] = field(default_factory=dict)

    def add(self, sync: SyncEvent, price: Price | None) -> None:
        self.calls += 1
        self.prices.append(price)
        self.steps[sync.step] += 1
        if sync.stack is not None:
            self.stacks.add((sync.thread, sync.stack))
        self.within[sync.within] = None


@dataclass(frozen=True, slots=True)
class SiteNumbers:
    """Which site each wait belongs to, as numbers."""

    of_waits: tuple[int, ...]
    """The number of each wait's site; -1 for the runner's own, and outside the steps that count."""
    places: Mapping[SiteKey, int]
    """The number of each site."""
    lines: tuple[Line, ...]
    """The line of each site."""
    implicit: frozenset[int]
    """The sites that nobody asked for."""


def number_sites(waits: Sequence[AnalysedWait], window: CountedSteps) -> SiteNumbers:
    """Return which site each of `waits` belongs to in the steps that count."""
    places: dict[SiteKey, int] = {}
    of_waits: list[int] = []
    findings: list[Finding] = []
    for wait in waits:
        finding = wait.finding
        if finding is None or not window.counts(wait.sync.step):
            of_waits.append(-1)
            continue
        place = places.setdefault(_key(finding, wait.sync), len(places))
        if place == len(findings):
            findings.append(finding)
        of_waits.append(place)
    return SiteNumbers(
        tuple(of_waits),
        places,
        tuple(Line(finding.file, finding.line) for finding in findings),
        frozenset(place for place, finding in enumerate(findings) if not finding.explicit),
    )


def sites(
    waits: Sequence[AnalysedWait],
    recording: Recording,
    window: CountedSteps,
    span_us: float | None,
    gains: Mapping[SiteKey, GainFigures] | None = None,
) -> tuple[Site, ...]:
    """Return the sites of the steps that count, the worst first, implicit ones before those that were asked for.

    Args:
        waits: each with its line and its price.
        recording: where they are from.
        window: the steps that count.
        span_us: the GPU time span of a step in microseconds, for the shares.
        gains: what a step would gain without each site; None where that is not known.
    """
    tallies: dict[SiteKey, _Tally] = {}
    for wait in waits:
        sync, finding = wait.sync, wait.finding
        if finding is not None and window.counts(sync.step):
            tallies.setdefault(_key(finding, sync), _Tally(finding, sync)).add(sync, wait.price)
    moved = _bytes_by_stack(recording, window)
    known = gains or {}
    found_sites = (
        _site(tally, recording, moved, window, span_us, known.get(key, UNKNOWN_GAIN)) for key, tally in tallies.items()
    )
    return tuple(sorted(found_sites, key=_badness))


def only_in_warmup(warm: Iterable[Site], measured: Iterable[Site]) -> tuple[Site, ...]:
    """Return the sites of `warm` that no measured step has."""
    lasting = {_place_of(site) for site in measured}
    return tuple(site for site in warm if _place_of(site) not in lasting)


def _place_of(site: Site) -> tuple[str, str, int, str, str | None]:
    return site.code, site.file, site.line, site.function, site.waiter if site.file == NO_LINE else None


def _key(finding: Finding, sync: SyncEvent) -> SiteKey:
    api = _api(sync) if finding.file == NO_LINE else None
    return finding.code, finding.file, finding.line, finding.function, api, finding.range, sync.allowed


def key_of_site(site: Site) -> SiteKey:
    """Return what the waits of `site` were put together by."""
    api = site.api if site.file == NO_LINE else None
    return site.code, site.file, site.line, site.function, api, site.range, site.allowed


def _api(sync: SyncEvent) -> str:
    return sync.api or sync.kind.api()


def _site(
    tally: _Tally,
    recording: Recording,
    moved: Mapping[_StackKey, int] | None,
    window: CountedSteps,
    span_us: float | None,
    gain: GainFigures,
) -> Site:
    steps = window.steps
    found: dict[str, Any] = {name: getattr(tally.finding, name) for name in _FOUND}
    copied = None if moved is None or not tally.stacks else sum(moved.get(stack, 0) for stack in tally.stacks)
    cost = totals(tally.prices, steps)
    nests = [() if index is None else recording.range_stacks[index] for index in tally.within]
    names = tuple(dict.fromkeys(name for nest in nests for name in nest))
    return Site(
        **found,
        op=tally.sync.op,
        kind=tally.sync.kind,
        api=_api(tally.sync),
        calls=tally.calls,
        calls_per_step=tally.calls / steps,
        structural=steps > 1 and len(tally.steps) == steps,
        host_blocked_us=cost.blocked_us,
        drain_wait_us=cost.drain_us,
        call_overhead_us=cost.overhead_us,
        gpu_idle_us=cost.bubble_us,
        stream_idle_us=cost.stream_bubble_us,
        step_share=None if cost.bubble_us is None or not span_us else min(1.0, cost.bubble_us / span_us),
        bytes=None if copied is None else round(copied / steps),
        ranges=names,
        allowed=tally.sync.allowed,
        nests=() if nests == [names] else _distinct(nests),
        calls_by_step=_by_step(tally.steps, window),
        gain_us=gain.us,
        gain_ci_us=gain.ci_us,
        gain_shared=gain.shared,
        moves_to=gain.moves_to,
        moves_us=gain.moves_us,
    )


def _by_step(calls: Mapping[int | None, int], window: CountedSteps) -> tuple[tuple[int, int], ...]:
    """Return the calls of each step that counts, in order, equal ones in a row together."""
    if window.measured is None or window.one:
        return ((sum(calls.values()), 1),)
    steps = sorted(window.measured, key=lambda step: -1 if step is None else step)
    return tuple((count, len(list(same))) for count, same in groupby(calls.get(step, 0) for step in steps))


def _distinct(nests: Iterable[tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    """Return each nest once: those that differ by the number of our own step alone are one."""
    kept: dict[tuple[str, ...], tuple[str, ...]] = {}
    for nest in nests:
        kept.setdefault(tuple(STEP_RANGE if name.startswith(_STEP) else name for name in nest), nest)
    return tuple(kept.values())


def _badness(site: Site) -> tuple[bool, float, float, float, int, str, str, int, str, str]:
    return (
        site.explicit,
        -(site.gain_us or 0.0),
        -(site.gpu_idle_us or 0.0),
        -(site.host_blocked_us or 0.0),
        -site.calls,
        site.code,
        site.file,
        site.line,
        site.allowed or "",
        site.waiter,
    )


def _bytes_by_stack(recording: Recording, window: CountedSteps) -> Mapping[_StackKey, int] | None:
    if recording.copies is None:
        return None
    moved: dict[_StackKey, int] = defaultdict(int)
    for copy in counted_copies(recording, window):
        if copy.stack is not None and copy.direction is not Direction.D2D:
            moved[copy.thread, copy.stack] += copy.bytes
    return moved


def counted_copies(recording: Recording, window: CountedSteps) -> Iterator[CopyEvent]:
    """Yield the copies of the steps that count; none where no sensor recorded copies."""
    return (copy for copy in recording.copies or () if window.counts(copy.step))
