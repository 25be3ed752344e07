"""What each wait cost: host time, split, and the idle time of the GPU that followed. Integers only."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from syncwatch.analyse.timeline import Timeline
from syncwatch.model.analysis import Price, Span
from syncwatch.model.events import SyncEvent, SyncKind
from syncwatch.model.session import Recording


def bubbles(waits: Sequence[Span], busy: Sequence[Span], end_ns: int) -> tuple[Span, ...]:
    """Return the bubble that follows each wait, as the time span in which the GPU stood idle.

    A bubble begins when the GPU's queue has run empty, within the wait, and ends with the next work on the GPU, with
    the next wait (its idle time is its own), or with the recording. It is empty where work was queued behind the wait,
    so that the GPU never stood still. No nanosecond is charged twice.

    Args:
        waits: host waits, in any order.
        busy: what ran on the GPU, in order and without overlap, as `timeline.union` gives it.
        end_ns: the end of the recording.
    """
    starts = [start for start, _ in busy]
    begins = sorted(start for start, _ in waits)
    charged_until = 0
    result = [(resumed, resumed) for _, resumed in waits]
    for resumed, wait_start, index in sorted((end, start, place) for place, (start, end) in enumerate(waits)):
        following = bisect_right(starts, resumed)
        drained = busy[following - 1][1] if following else wait_start
        if drained > resumed:
            continue
        low = max(wait_start, drained, charged_until)
        next_work = starts[following] if following < len(starts) else end_ns
        next_wait = bisect_left(begins, resumed) if wait_start < resumed else bisect_right(begins, resumed)
        high = min(next_work, begins[next_wait] if next_wait < len(begins) else end_ns, end_ns)
        if low < high:
            result[index] = (low, high)
        charged_until = max(charged_until, high)
    return tuple(result)


_Timed = tuple[int, SyncEvent, Span]
"""A wait that has a time: its place in the recording, itself, its begin and its end."""


def price(recording: Recording, timeline: Timeline) -> tuple[Price | None, ...]:
    """Return the price of every wait of `recording`, in their order, by the work of the GPU that it was for.

    None for one without a time. The runner's pacing waits take part, so that their idle time is charged to nobody else.
    A GPU that never worked while another did is nobody's to keep busy.
    """
    priced: list[Price | None] = [None] * len(recording.syncs)
    by_gpu: dict[int, list[_Timed]] = defaultdict(list)
    for place, sync in enumerate(recording.syncs):
        if sync.start_ns is not None and sync.end_ns is not None:
            by_gpu[sync.device].append((place, sync, (sync.start_ns, sync.end_ns)))
    for gpu, timed in by_gpu.items():
        for place, cost in _of_gpu(gpu, timed, timeline):
            priced[place] = cost
        for place, _, (start, stop) in timed:
            if priced[place] is None:
                # There was nothing to wait for.
                priced[place] = Price(stop - start, 0, (stop, stop), (stop, stop))
    return tuple(priced)


def _of_gpu(gpu: int, timed: Sequence[_Timed], timeline: Timeline) -> Iterable[tuple[int, Price]]:
    """Return the place and the price of those of `timed` that waited for `gpu`."""
    if timeline.gpus is None:
        return ((place, Price(stop - start, None, None, None)) for place, _, (start, stop) in timed)
    if timeline.gpus and gpu not in timeline.gpus:
        return ()
    streams = {stream: spans for (owner, stream), spans in timeline.streams.items() if owner == gpu}
    return _on_gpu(timed, timeline.gpus.get(gpu, ()), streams, timeline.end_ns)


def _on_gpu(
    timed: Sequence[_Timed], busy: tuple[Span, ...], by_stream: Mapping[int, tuple[Span, ...]], end_ns: int
) -> Iterator[tuple[int, Price]]:
    """Yield the place and the price of each wait for one GPU, but for the allocator calls that did not wait."""
    drain = _Drain(busy, by_stream)
    waits: list[_Timed] = []
    drained: list[int] = []
    for known in timed:
        _, sync, span = known
        waited_ns = drain.within(sync.stream, span)
        # An allocator call that did not wait leaves the idle time around it to the wait that caused it.
        if sync.kind is not SyncKind.ALLOCATION or waited_ns:
            waits.append(known)
            drained.append(waited_ns)
    spans = [span for _, _, span in waits]
    whole_gpu = bubbles(spans, busy, end_ns)
    streams = _stream_bubbles([sync for _, sync, _ in waits], spans, by_stream, whole_gpu, end_ns)
    for wait, drain_ns, bubble, stream_bubble in zip(waits, drained, whole_gpu, streams, strict=True):
        place, _, (start, stop) = wait
        yield place, Price(stop - start, drain_ns, bubble, stream_bubble)


def _stream_bubbles(
    syncs: Sequence[SyncEvent],
    spans: Sequence[Span],
    by_stream: Mapping[int, tuple[Span, ...]],
    whole_gpu: Sequence[Span],
    end_ns: int,
) -> list[Span]:
    """Return the bubble of the stream each wait was for; that of the whole GPU where no single stream is known."""
    result = list(whole_gpu)
    groups: dict[int, list[int]] = defaultdict(list)
    for index, sync in enumerate(syncs):
        if sync.stream is not None and sync.stream in by_stream:
            groups[sync.stream].append(index)
    for stream, members in groups.items():
        of_members = bubbles([spans[index] for index in members], by_stream[stream], end_ns)
        for index, bubble in zip(members, of_members, strict=True):
            # Else one object is enough; on a single stream all are the same.
            if bubble != result[index]:
                result[index] = bubble
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
