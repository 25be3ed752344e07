"""Answers: which events belong to measured steps, and when was the GPU busy?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from syncwatch.model.events import SyncEvent, SyncKind
from syncwatch.model.session import Recording

Span = tuple[int, int]
"""Start and end in nanoseconds."""


@dataclass(frozen=True, slots=True)
class Window:
    """The steps that count."""

    measured: frozenset[int] | None
    """Indices of the steps after warm-up; None where no step was marked, so that the whole run is one."""
    first_ns: int | None
    """When the first measured step began."""

    @property
    def steps(self) -> int:
        """Return the number of measured steps."""
        return 1 if self.measured is None else len(self.measured)

    def counts(self, step: int | None) -> bool:
        """Return whether an event of `step` counts."""
        return self.measured is None or step in self.measured


def window_of(recording: Recording) -> Window:
    """Return the steps of `recording` that count."""
    if not recording.steps:
        return Window(None, None)
    kept = [step for step in recording.steps if not step.warmup]
    return Window(frozenset(step.index for step in kept), min((step.start_ns for step in kept), default=None))


def warmup_of(recording: Recording) -> Window:
    """Return the steps of `recording` that warm up."""
    return Window(frozenset(step.index for step in recording.steps if step.warmup), None)


def split_early(syncs: Iterable[SyncEvent], window: Window) -> tuple[int, int]:
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


def busy_spans(recording: Recording) -> tuple[Span, ...] | None:
    """Return the union of everything that ran on the GPU, in order; None where kernels were not recorded."""
    return None if recording.kernels is None else union(span for _, span in work_of(recording))


def stream_spans(recording: Recording) -> dict[int, tuple[Span, ...]]:
    """Return the union of what ran on each stream, in order."""
    streams: dict[int, list[Span]] = {}
    for stream, span in work_of(recording):
        if stream is not None:
            streams.setdefault(stream, []).append(span)
    return {stream: union(spans) for stream, spans in streams.items()}


def work_of(recording: Recording, window: Window | None = None) -> Iterator[tuple[int | None, Span]]:
    """Yield stream and time of every kernel and copy on the GPU, or of those whose step counts in `window`."""
    for kernel in recording.kernels or ():
        if window is None or window.counts(kernel.step):
            yield kernel.stream, (kernel.start_ns, kernel.end_ns)
    for copy in recording.copies or ():
        if copy.start_ns is not None and copy.end_ns is not None and (window is None or window.counts(copy.step)):
            yield copy.stream, (copy.start_ns, copy.end_ns)


def union(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Return `spans` merged and in order, without the empty ones."""
    merged: list[Span] = []
    for start, end in sorted(span for span in spans if span[0] < span[1]):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return tuple(merged)


def end_of(recording: Recording) -> int:
    """Return the last moment that the recording knows of."""
    ends = [step.end_ns for step in recording.steps]
    ends += [sync.end_ns for sync in recording.syncs if sync.end_ns is not None]
    ends += [kernel.end_ns for kernel in recording.kernels or ()]
    ends += [copy.end_ns for copy in recording.copies or () if copy.end_ns is not None]
    return max(ends, default=0)
