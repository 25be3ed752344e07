"""Answers: what did each wait cost? Host time, split, and the idle time of the GPU that followed. Integers only."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from syncwatch.analyse.bubbles import bubbles
from syncwatch.analyse.timeline import Span, Timeline
from syncwatch.model.events import SyncEvent, SyncKind
from syncwatch.model.session import Recording


@dataclass(frozen=True, slots=True)
class Price:
    """What one wait cost, in nanoseconds."""

    blocked_ns: int
    drain_ns: int | None
    """The part of `blocked_ns` in which what was waited for still ran; None where the GPU's work was not recorded."""
    idle: Span | None
    """When the whole GPU that was waited for then had nothing to do: the bubble."""
    stream_idle: Span | None
    """When the stream that was waited for then had nothing to do."""

    @property
    def overhead_ns(self) -> int | None:
        """Return the part of `blocked_ns` that is the call itself and the waking up."""
        return None if self.drain_ns is None else self.blocked_ns - self.drain_ns

    @property
    def idle_ns(self) -> int | None:
        """Return the length of `idle`."""
        return None if self.idle is None else self.idle[1] - self.idle[0]

    @property
    def stream_idle_ns(self) -> int | None:
        """Return the length of `stream_idle`."""
        return None if self.stream_idle is None else self.stream_idle[1] - self.stream_idle[0]


Prices = Mapping[int, Price]
"""The price of each timed wait by its `id`."""


def prices(recording: Recording, timeline: Timeline) -> Prices:
    """Return the price of every wait of `recording` that has a time, by the work of the GPU that it was for.

    The runner's pacing waits take part, so that their idle time is charged to nobody else. A GPU that never worked
    while another did is nobody's to keep busy.
    """
    timed = [sync for sync in recording.syncs if sync.start_ns is not None and sync.end_ns is not None]
    gpus = timeline.gpus
    if gpus is None:
        return {id(sync): Price(stop - start, None, None, None) for sync, (start, stop) in _with_spans(timed)}
    priced: dict[int, Price] = {}
    by_gpu: dict[int, list[SyncEvent]] = defaultdict(list)
    for sync in timed:
        by_gpu[sync.device].append(sync)
    for gpu, waits in by_gpu.items():
        if gpu in gpus or not gpus:
            streams = {stream: spans for (owner, stream), spans in timeline.streams.items() if owner == gpu}
            priced.update(_on_gpu(waits, gpus.get(gpu, ()), streams, timeline.end_ns))
    for sync, (start, stop) in _with_spans(timed):
        if id(sync) not in priced:
            priced[id(sync)] = Price(stop - start, 0, (stop, stop), (stop, stop))
    return priced


def _with_spans(timed: Iterable[SyncEvent]) -> Iterator[tuple[SyncEvent, Span]]:
    """Yield each wait with its begin and its end, which it has."""
    for sync in timed:
        if sync.start_ns is not None and sync.end_ns is not None:
            yield sync, (sync.start_ns, sync.end_ns)


def _on_gpu(
    timed: Sequence[SyncEvent], busy: tuple[Span, ...], by_stream: Mapping[int, tuple[Span, ...]], end_ns: int
) -> Iterator[tuple[int, Price]]:
    """Yield the price of each wait for one GPU, but for the allocator calls that did not wait."""
    drain = _Drain(busy, by_stream)
    waits: list[SyncEvent] = []
    drained: list[int] = []
    for sync, span in _with_spans(timed):
        waited_ns = drain.within(sync.stream, span)
        # An allocator call that did not wait leaves the idle time around it to the wait that caused it.
        if sync.kind is not SyncKind.ALLOCATION or waited_ns:
            waits.append(sync)
            drained.append(waited_ns)
    spans = [span for _, span in _with_spans(waits)]
    idle = bubbles(spans, busy, end_ns)
    of_stream = _stream_idle(waits, spans, by_stream, idle, end_ns)
    for sync, (start, stop), drained_ns, gap, stream_gap in zip(waits, spans, drained, idle, of_stream, strict=True):
        yield id(sync), Price(stop - start, drained_ns, gap, stream_gap)


def _stream_idle(
    syncs: Sequence[SyncEvent],
    spans: Sequence[Span],
    by_stream: Mapping[int, tuple[Span, ...]],
    idle: Sequence[Span],
    end_ns: int,
) -> list[Span]:
    """Return the idle time of the stream each wait was for; of the whole GPU where no single stream is known."""
    result = list(idle)
    groups: dict[int, list[int]] = defaultdict(list)
    for index, sync in enumerate(syncs):
        if sync.stream is not None and sync.stream in by_stream:
            groups[sync.stream].append(index)
    for stream, members in groups.items():
        gaps = bubbles([spans[index] for index in members], by_stream[stream], end_ns)
        for index, gap in zip(members, gaps, strict=True):
            # Else one object is enough; on a single stream all are the same.
            if gap != result[index]:
                result[index] = gap
    return result


class _Drain:
    """Tells how long what a wait was for still ran."""

    def __init__(self, busy: tuple[Span, ...], by_stream: Mapping[int, tuple[Span, ...]]) -> None:
        self._busy: dict[int | None, tuple[Span, ...]] = {None: busy}
        self._busy.update(by_stream.items())
        self._starts = {stream: [start for start, _ in spans] for stream, spans in self._busy.items()}

    def within(self, stream: int | None, wait: Span) -> int:
        """Return how much of `wait` lies before the end of the last work that began in or before it."""
        known = stream if stream in self._busy else None
        before = bisect_left(self._starts[known], wait[1])
        if not before:
            return 0
        return max(0, min(wait[1], self._busy[known][before - 1][1]) - wait[0])
