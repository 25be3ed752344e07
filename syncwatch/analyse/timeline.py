"""Finds the events that belong to measured steps, and when each GPU was busy."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

from syncwatch.model.analysis import Span
from syncwatch.model.compact import Work, launched, work_of
from syncwatch.model.events import SyncEvent, SyncKind
from syncwatch.model.session import Recording

Stream = tuple[int, int]
"""The GPU and the number of the stream: each GPU numbers its own."""


@dataclass(frozen=True, slots=True)
class CountedSteps:
    """The steps that count."""

    measured: frozenset[int | None] | None
    """Indices of the steps after warm-up; None where no step was marked, so that the whole run is one."""
    first_ns: int | None
    """When the first measured step began."""
    one: bool = False
    """Whether all of it counts as one step."""

    @property
    def steps(self) -> int:
        """Return the number of measured steps."""
        return 1 if self.measured is None or self.one else len(self.measured)

    def counts(self, step: int | None) -> bool:
        """Return whether an event of `step` counts."""
        return self.measured is None or step in self.measured


def window_of(recording: Recording) -> CountedSteps:
    """Return the steps of `recording` that count."""
    if not recording.steps:
        return CountedSteps(None, None)
    kept = [step for step in recording.steps if not step.warmup]
    return CountedSteps(frozenset(step.index for step in kept), min((step.start_ns for step in kept), default=None))


def warmup_of(recording: Recording) -> CountedSteps:
    """Return the steps of `recording` that warm up."""
    return CountedSteps(frozenset(step.index for step in recording.steps if step.warmup), None)


def outside_of(recording: Recording) -> CountedSteps | None:
    """Return what lies outside every step of `recording`, as one step; None where no step was marked.

    A step that began and never ended, as in a thread that was still running, is no step.
    """
    if not recording.steps:
        return None
    ended = {step.index for step in recording.steps}
    return CountedSteps(
        frozenset({None, *(sync.step for sync in recording.syncs if sync.step not in ended)}), None, one=True
    )


def split_early(syncs: Iterable[SyncEvent], window: CountedSteps) -> tuple[int, int]:
    """Return how many uncounted waits came before the first measured step, and how many later, between steps."""
    early = late = 0
    begun = False
    for sync in syncs:
        if sync.kind is SyncKind.ALLOCATION:
            continue
        if window.counts(sync.step):
            begun = True
        elif sync.step is not None:
            early += 1
        elif sync.start_ns is not None and window.first_ns is not None:
            early, late = (early + 1, late) if sync.start_ns < window.first_ns else (early, late + 1)
        else:
            # Without a time, the order of recording tells.
            early, late = (early, late + 1) if begun else (early + 1, late)
    return early, late


@dataclass(frozen=True, slots=True)
class Timeline:
    """When each GPU and each of its streams worked; spans are in order and do not overlap."""

    gpus: Mapping[int, tuple[Span, ...]] | None
    """By GPU, of those that worked; None where kernels or copies were not recorded."""
    streams: Mapping[Stream, tuple[Span, ...]]
    end_ns: int
    """The last moment that the recording knows of."""


def timeline_of(recording: Recording) -> Timeline:
    """Return when each GPU of `recording` worked, and until when it was recorded."""
    end = end_of(recording)
    if recording.kernels is None or recording.copies is None:
        return Timeline(None, {}, end)
    known: dict[tuple[int, int | None], list[Span]] = defaultdict(list)
    for gpu, stream, _, begun, until in _work(recording):
        known[gpu, stream].append((begun, until))
    # One after the other, so that what was merged is let go of.
    merged = {key: union(known.pop(key)) for key in list(known)}
    parts: dict[int, list[tuple[Span, ...]]] = defaultdict(list)
    for (gpu, _), spans in merged.items():
        parts[gpu].append(spans)
    return Timeline(
        gpus={gpu: each[0] if len(each) == 1 else union(chain.from_iterable(each)) for gpu, each in parts.items()},
        streams={(gpu, stream): spans for (gpu, stream), spans in merged.items() if stream is not None},
        end_ns=end,
    )


def extents(recording: Recording, window: CountedSteps) -> dict[int, Span]:
    """Return when the first and the last work of the steps that count began and ended, by GPU."""
    found: dict[int, Span] = {}
    for gpu, _, step, start, end in _work(recording):
        if window.counts(step):
            first, last = found.get(gpu, (start, end))
            if gpu not in found or start < first or end > last:
                found[gpu] = (min(first, start), max(last, end))
    return found


def _work(recording: Recording) -> Iterator[Work]:
    return chain(work_of(recording.kernels or ()), work_of(recording.copies or ()))


def union(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Return `spans` merged and in order, without the empty ones."""
    merged: list[Span] = []
    known = iter(sorted(spans))
    begun, until = next(known, (0, 0))
    for start, end in known:
        if start <= until:
            until = max(until, end)
        else:
            if begun < until:
                merged.append((begun, until))
            begun, until = start, end
    if begun < until:
        merged.append((begun, until))
    return tuple(merged)


def begin_of(recording: Recording) -> int | None:
    """Return the first moment at which the host did something that was recorded; None where there is no time."""
    syncs = (sync.start_ns for sync in recording.syncs if sync.start_ns is not None)
    launches = (called for *_, called, _ in launched(recording.kernels or ()))
    copies = (copy.call.start_ns for copy in recording.copies or () if copy.call is not None)
    return min(chain(syncs, launches, copies), default=None)


def end_of(recording: Recording) -> int:
    """Return the last moment that the recording knows of."""
    steps = (step.end_ns for step in recording.steps)
    syncs = (sync.end_ns for sync in recording.syncs if sync.end_ns is not None)
    work = (end for _, _, _, _, end in _work(recording))
    return max(chain(steps, syncs, work), default=0)
