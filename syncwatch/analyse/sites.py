"""Answers: what does each line cost a step? Calls, host time, GPU idle time and bytes, added up by line."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from syncwatch.analyse.price import Price, Prices
from syncwatch.analyse.timeline import Window
from syncwatch.analyse.totals import totals
from syncwatch.model.events import CopyEvent, Direction, SyncEvent
from syncwatch.model.finding import NO_LINE, Attributed, Finding, Site
from syncwatch.model.session import Recording

_StackKey = tuple[int, int]
_SiteKey = tuple[str, str, int, str, "str | None", "str | None", "str | None"]
"""Cause, file, line, function; the call and the range where there is no line; the reason for which it is allowed."""


@dataclass(slots=True)
class _Tally:
    """What one site adds up to over the steps that count."""

    finding: Finding
    sync: SyncEvent
    calls: int = 0
    prices: list[Price | None] = field(default_factory=list)
    stacks: set[_StackKey] = field(default_factory=set)
    steps: set[int | None] = field(default_factory=set)
    within: dict[int, None] = field(default_factory=dict)

    def add(self, sync: SyncEvent, price: Price | None) -> None:
        self.calls += 1
        self.prices.append(price)
        self.steps.add(sync.step)
        if sync.stack is not None:
            self.stacks.add((sync.thread, sync.stack))
        if sync.within is not None:
            self.within[sync.within] = None


def sites(
    found: Sequence[Attributed], recording: Recording, window: Window, costs: Prices, span_us: float | None
) -> tuple[Site, ...]:
    """Return the sites of the steps that count, the worst first, implicit ones before those that were asked for.

    Args:
        found: the waits with their lines.
        recording: where they are from.
        window: the steps that count.
        costs: the price of each wait.
        span_us: the GPU time span of a step in microseconds, for the shares.
    """
    tallies: dict[_SiteKey, _Tally] = {}
    for item in found:
        if window.counts(item.sync.step):
            tally = tallies.setdefault(_key(item), _Tally(item.finding, item.sync))
            tally.add(item.sync, costs.get(id(item.sync)))
    moved = _bytes_by_stack(recording, window)
    found_sites = (_site(tally, recording, moved, window.steps, span_us) for tally in tallies.values())
    return tuple(sorted(found_sites, key=_badness))


def only_in_warmup(warm: Iterable[Site], measured: Iterable[Site]) -> tuple[Site, ...]:
    """Return the sites of `warm` that no measured step has."""
    lasting = {_place_of(site) for site in measured}
    return tuple(site for site in warm if _place_of(site) not in lasting)


def _place_of(site: Site) -> tuple[str, str, int, str, str | None]:
    return site.code, site.file, site.line, site.function, site.waiter if site.file == NO_LINE else None


def _key(item: Attributed) -> _SiteKey:
    finding = item.finding
    api = _api(item.sync) if finding.file == NO_LINE else None
    return finding.code, finding.file, finding.line, finding.function, api, finding.range, item.sync.allowed


def _api(sync: SyncEvent) -> str:
    return sync.api or sync.kind.api()


def _site(
    tally: _Tally, recording: Recording, moved: Mapping[_StackKey, int] | None, steps: int, span_us: float | None
) -> Site:
    finding = tally.finding
    copied = None if moved is None or not tally.stacks else sum(moved.get(stack, 0) for stack in tally.stacks)
    cost = totals(tally.prices, steps)
    return Site(
        code=finding.code,
        title=finding.title,
        file=finding.file,
        line=finding.line,
        function=finding.function,
        source=finding.source,
        expression=finding.expression,
        op=tally.sync.op,
        kind=tally.sync.kind,
        api=_api(tally.sync),
        explicit=finding.explicit,
        calls=tally.calls,
        calls_per_step=tally.calls / steps,
        structural=steps > 1 and len(tally.steps) == steps,
        host_blocked_us=cost.blocked_us,
        drain_wait_us=cost.drain_us,
        call_overhead_us=cost.overhead_us,
        gpu_idle_us=cost.idle_us,
        stream_idle_us=cost.stream_idle_us,
        step_share=None if cost.idle_us is None or not span_us else min(1.0, cost.idle_us / span_us),
        bytes=None if copied is None else round(copied / steps),
        ranges=_ranges(recording, tally.within),
        allowed=tally.sync.allowed,
        hint=finding.hint,
        range=finding.range,
        exact_line=finding.exact_line,
    )


def _ranges(recording: Recording, within: Iterable[int]) -> tuple[str, ...]:
    """Return the names of all ranges around the calls of a site, outermost first, each once."""
    return tuple(dict.fromkeys(name for index in within for name in recording.range_stacks[index]))


def _badness(site: Site) -> tuple[bool, float, float, int, str, str, int, str, str]:
    return (
        site.explicit,
        -(site.gpu_idle_us or 0.0),
        -(site.host_blocked_us or 0.0),
        -site.calls,
        site.code,
        site.file,
        site.line,
        site.allowed or "",
        site.waiter,
    )


def _bytes_by_stack(recording: Recording, window: Window) -> Mapping[_StackKey, int] | None:
    if recording.copies is None:
        return None
    moved: dict[_StackKey, int] = defaultdict(int)
    for copy in counted_copies(recording, window):
        if copy.stack is not None and copy.direction is not Direction.D2D:
            moved[copy.thread, copy.stack] += copy.bytes
    return moved


def counted_copies(recording: Recording, window: Window) -> Iterator[CopyEvent]:
    """Yield the copies of the steps that count; none where no sensor recorded copies."""
    return (copy for copy in recording.copies or () if window.counts(copy.step))
