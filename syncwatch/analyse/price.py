"""Answers: what does each line cost a step? Calls, host time, GPU idle time and bytes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from syncwatch.analyse.bubbles import bubbles
from syncwatch.analyse.timeline import Window, busy_spans, end_of
from syncwatch.model.events import CopyEvent, Direction, SyncEvent
from syncwatch.model.finding import Attributed, Finding, PerStep, Site
from syncwatch.model.session import Recording

_US = 1000.0
_StackKey = tuple[int, int]


@dataclass(slots=True)
class _Tally:
    """What one site adds up to over the measured steps."""

    finding: Finding
    sync: SyncEvent
    calls: int = 0
    blocked_ns: int | None = 0
    idle_ns: int | None = 0
    stacks: set[_StackKey] = field(default_factory=set)


Idle = Mapping[int, int]
"""The bubble of each timed synchronization in nanoseconds, by `id`."""


def sites(found: Sequence[Attributed], recording: Recording, window: Window, idle: Idle | None) -> tuple[Site, ...]:
    """Return the sites of the measured steps, the worst first, implicit ones before those that were asked for."""
    tallies: dict[tuple[str, str, int, str], _Tally] = {}
    for item in found:
        finding, sync = item.finding, item.sync
        if not window.counts(sync.step):
            continue
        key = (finding.code, finding.file, finding.line, finding.function)
        tally = tallies.setdefault(key, _Tally(finding, sync))
        tally.calls += 1
        tally.blocked_ns = _add(tally.blocked_ns, blocked_ns(sync))
        tally.idle_ns = _add(tally.idle_ns, idle.get(id(sync)) if idle is not None else None)
        if sync.stack is not None:
            tally.stacks.add((sync.thread, sync.stack))
    moved = _bytes_by_stack(recording, window)
    return tuple(sorted((_site(tally, moved, window.steps) for tally in tallies.values()), key=_badness))


def per_step(found: Iterable[Attributed], recording: Recording, window: Window, idle: Idle | None) -> PerStep:
    """Return the figures of a step of `recording`."""
    if not window.steps:
        return PerStep(0.0, 0.0, None, None, None, None, None, None)
    counted = [item for item in found if window.counts(item.sync.step)]
    # No wait and no sensor that counts is silence, not health.
    watched = bool(counted) or recording.coverage.seen is not None
    blocked = _total((blocked_ns(item.sync) for item in counted), watched)
    bubble = _total((idle.get(id(item.sync)) for item in counted), watched) if idle is not None else None
    return PerStep(
        syncs=len(counted) / window.steps,
        explicit_syncs=sum(item.finding.explicit for item in counted) / window.steps,
        d2h_copies=_copies(recording, window, Direction.D2H),
        d2h_bytes=_bytes(recording, window, Direction.D2H),
        h2d_copies=_copies(recording, window, Direction.H2D),
        h2d_bytes=_bytes(recording, window, Direction.H2D),
        host_blocked_us=_a_step(blocked, window.steps),
        gpu_idle_us=_a_step(bubble, window.steps),
    )


def blocked_ns(sync: SyncEvent) -> int | None:
    """Return how long the host stood still, or None where it was not measured."""
    return None if sync.start_ns is None or sync.end_ns is None else sync.end_ns - sync.start_ns


def idle_by_sync(recording: Recording) -> Idle | None:
    """Return the bubble of each timed synchronization; None where the GPU's work was not recorded.

    The runner's pacing waits take part, so that their idle time is charged to nobody else.
    """
    busy = busy_spans(recording)
    if busy is None:
        return None
    timed = [
        (sync, (sync.start_ns, sync.end_ns))
        for sync in recording.syncs
        if sync.start_ns is not None and sync.end_ns is not None
    ]
    gaps = bubbles([span for _, span in timed], busy, end_of(recording))
    return {id(sync): gap for (sync, _), gap in zip(timed, gaps, strict=True)}


def _site(tally: _Tally, moved: Mapping[_StackKey, int] | None, steps: int) -> Site:
    finding = tally.finding
    total = None if moved is None else sum(moved.get(stack, 0) for stack in tally.stacks)
    return Site(
        code=finding.code,
        title=finding.title,
        file=finding.file,
        line=finding.line,
        function=finding.function,
        source=finding.source,
        expression=finding.expression,
        op=tally.sync.op,
        api=tally.sync.kind.api(),
        explicit=finding.explicit,
        calls=tally.calls,
        calls_per_step=tally.calls / steps,
        host_blocked_us=_a_step(tally.blocked_ns, steps),
        gpu_idle_us=_a_step(tally.idle_ns, steps),
        bytes=None if total is None else round(total / steps),
        hint=finding.hint,
    )


def _badness(site: Site) -> tuple[bool, float, float, int, str, str, int]:
    return (
        site.explicit,
        -(site.gpu_idle_us or 0.0),
        -(site.host_blocked_us or 0.0),
        -site.calls,
        site.code,
        site.file,
        site.line,
    )


def _bytes_by_stack(recording: Recording, window: Window) -> Mapping[_StackKey, int] | None:
    if recording.copies is None:
        return None
    moved: dict[_StackKey, int] = defaultdict(int)
    for copy in _counted(recording, window):
        if copy.stack is not None and copy.direction is not Direction.D2D:
            moved[copy.thread, copy.stack] += copy.bytes
    return moved


def _counted(recording: Recording, window: Window) -> list[CopyEvent]:
    return [copy for copy in recording.copies or () if window.counts(copy.step)]


def _copies(recording: Recording, window: Window, direction: Direction) -> float | None:
    if recording.copies is None:
        return None
    return sum(copy.direction is direction for copy in _counted(recording, window)) / window.steps


def _bytes(recording: Recording, window: Window, direction: Direction) -> float | None:
    if recording.copies is None:
        return None
    return sum(copy.bytes for copy in _counted(recording, window) if copy.direction is direction) / window.steps


def _add(total: int | None, more: int | None) -> int | None:
    """Return the sum; one unmeasured part leaves the whole unmeasured."""
    return None if total is None or more is None else total + more


def _total(parts: Iterable[int | None], watched: bool) -> int | None:
    total: int | None = 0 if watched else None
    for part in parts:
        total = _add(total, part)
    return total


def _a_step(total_ns: int | None, steps: int) -> float | None:
    return None if total_ns is None else total_ns / _US / steps
