"""Makes the graph of some steps of a recording: what each call and each work cost by itself, and what held it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from syncwatch.analyse.replay.graph import NO_SITE, Graph, HostCall, Work
from syncwatch.analyse.replay.items import Item, Started, Stream, is_staged, is_upload, serves
from syncwatch.analyse.replay.run import QUEUE_LENGTH
from syncwatch.analyse.replay.threads import handovers
from syncwatch.analyse.replay.typical import Typical, typical_of
from syncwatch.model.events import SyncKind

PINNED_BYTES_PER_US = 50_000
"""How fast the GPU copies from pinned memory: 50 GB/s, measured on an H200 (PCIe 5, 4 to 64 MB)."""
SLACK_NS = 3_000
"""Work that ended so much after a wait is not what it was for: the clocks of host and GPU agree to less."""
FAR_NS = 20_000
"""Work that began so much after all that is known to hold it was held by something else."""
NEAR_NS = 10_000
"""Work that ended at most so long before it is what held it."""


@dataclass(slots=True)
class Builder:
    """Goes through the calls in order and resolves what each of them and its work was held by."""

    items: Sequence[Item]
    typical: Typical
    knows_events: bool
    """Whether event calls were recorded, so that nothing need be guessed of them."""
    works: list[Work] = field(default_factory=list)
    calls: list[HostCall] = field(default_factory=list)
    _begun: list[int] = field(default_factory=list)
    _ended: list[int] = field(default_factory=list)
    """When each work was done in the recording."""
    _streams: dict[Stream, int] = field(default_factory=dict)
    _tails: dict[int, int] = field(default_factory=dict)
    """The last work of each stream so far."""
    _of_stream: dict[int, list[int]] = field(default_factory=dict)
    _events: dict[int, int | None] = field(default_factory=dict)
    """The work behind which each event was last recorded."""
    _holds: dict[int, list[int]] = field(default_factory=dict)
    """The work of other streams that the next work of a stream waits for."""
    _last: dict[int, Item] = field(default_factory=dict)
    """The last call of each thread."""

    def built(self, follows: Sequence[tuple[int, int] | None], steps: int, launch_watch: int) -> Graph:
        """Return the graph."""
        served = _served(self.items)
        for place, (item, follow) in enumerate(zip(self.items, follows, strict=True)):
            self._add(item, served.get(place), follow)
        return Graph(
            calls=tuple(self.calls),
            works=tuple(self.works),
            streams=len(self._streams),
            threads=1 + max((each.thread for each in self.items), default=0),
            begin_ns=self.items[0].start,
            steps=steps,
            recorded_ns=self._recorded(),
            launch_watch=launch_watch,
        )

    def _add(self, item: Item, wait: Item | None, follow: tuple[int, int] | None) -> None:
        before = self._last.get(item.thread)
        free = item.start if before is None else before.end
        watching = item.before + (0 if before is None else before.watching)
        watching = min(watching, max(0, item.start - free))
        begin = max(item.start, min(free + watching, item.end))
        if item.event is not None:
            self._order(item)
        places = tuple(self._queue(each, item) for each in item.works)
        waits_for: tuple[int, ...] = ()
        wake, length = 0, max(0, item.end - begin)
        if item.sync is not None:
            waits_for, wake, length = self._wait(item, begin, places)
        elif item.works and item.works[0].copy is None and self._is_held_by_queue(places[0], item):
            length = min(length, self.typical.launch)
        # A copy that is needed anyway costs what one costs that nobody waits for.
        asked = wait if wait is not None else item
        needed = [each for each in item.works if each.copy is not None and is_upload(each.copy)]
        held = item.sync is not None and item.sync.kind is SyncKind.COPY
        self.calls.append(
            HostCall(
                thread=item.thread,
                own=max(0, begin - free - watching),
                watching=watching,
                length=length,
                works=places,
                waits_for=waits_for,
                wake=wake,
                site=asked.site,
                unheld=min(length, self.typical.copy_call) if item.works and (needed or held) else None,
                follows=follow,
                mark=item.mark,
            )
        )
        self._last[item.thread] = Item(item.thread, begin, max(free, begin, item.end), item.watching)

    def _is_held_by_queue(self, place: int, launch: Item) -> bool:
        """Return whether so much work was queued before that the launch had to wait for room."""
        before = self._of_stream[self.works[place].stream]
        return len(before) > DEEP and self._begun[before[-DEEP]] > launch.start

    def _order(self, item: Item) -> None:
        """Take in that a stream recorded an event, or waits for one."""
        event = item.event
        assert event is not None
        stream = self._stream((event.device, event.stream))
        if event.waits:
            held = self._events.get(event.event)
            if held is not None:
                self._holds.setdefault(stream, []).append(held)
        else:
            self._events[event.event] = self._tails.get(stream)

    def _stream(self, stream: Stream) -> int:
        return self._streams.setdefault(stream, len(self._streams))

    def _queue(self, work: Started, item: Item) -> int:
        """Add a work behind the others of its stream; return its place."""
        stream, typical = self._stream(work.stream), self.typical
        tail = self._tails.get(stream)
        free = self._ended[tail] if tail is not None else None
        held = self._holds.pop(stream, [])
        latency, gap = work.start - item.start, typical.gap
        usual = min(typical.latency(work), latency)
        late = item.start + usual
        known = max([self._ended[each] for each in held], default=None)
        bound = max((each for each in (free, known) if each is not None), default=None)
        if bound is None or bound < late:
            bound = None
        if work.start - (late if bound is None else bound) > FAR_NS and not self.knows_events:
            guessed = self._ended_before(work.start, stream)
            if guessed is not None:
                held, known = [guessed], self._ended[guessed]
                bound = max(known, bound or known)
        if bound is not None:
            latency = usual
        if free is not None:
            gap = work.start - free if bound == free else min(gap, work.start - free)
        length = max(0, work.end - work.start)
        place = len(self.works)
        self.works.append(
            Work(
                stream=stream,
                length=length,
                latency=latency,
                gap=gap,
                after=tuple((each, self._behind(each, work.start, bound)) for each in held),
                unheld=_unheld(work, length),
            )
        )
        self._begun.append(work.start)
        self._ended.append(max(work.end, free if free is not None else work.end))
        self._tails[stream] = place
        self._of_stream.setdefault(stream, []).append(place)
        return place

    def _behind(self, other: int, start: int, bound: int | None) -> int:
        """Return how long after `other` the work began that it held; the usual gap where something else held it."""
        behind = start - self._ended[other]
        return behind if bound == self._ended[other] else min(behind, self.typical.gap)

    def _ended_before(self, moment: int, stream: int) -> int | None:
        """Return the work of another stream that ended just before `moment`."""
        found: int | None = None
        for other, places in self._of_stream.items():
            if other == stream:
                continue
            for place in reversed(places[-_LOOK_BACK:]):
                if moment - NEAR_NS < self._ended[place] <= moment + SLACK_NS:
                    if found is None or self._ended[place] > self._ended[found]:
                        found = place
                    break
        return found

    def _wait(self, item: Item, begin: int, own: tuple[int, ...]) -> tuple[tuple[int, ...], int, int]:
        """Return what a wait is for, how long after it the host goes on, and what the call takes by itself."""
        spent = max(0, item.end - begin)
        places = [each for each in self._waits_for(item, own) if self._ended[each] <= item.end + SLACK_NS]
        if not places:
            return (), 0, spent
        done = max(self._ended[each] for each in places)
        if done <= begin:
            return tuple(places), min(spent, self.typical.wake), spent
        return tuple(places), max(0, item.end - done), min(spent, self.typical.wait_call)

    def _waits_for(self, item: Item, own: tuple[int, ...]) -> Iterable[int]:
        sync = item.sync
        assert sync is not None
        tails = {stream: self._tails.get(number) for stream, number in self._streams.items()}
        of_gpu = [place for (device, _), place in tails.items() if device == sync.device and place is not None]
        if sync.kind is SyncKind.COPY:
            return own
        if sync.kind is SyncKind.ALLOCATION:
            # One that gives memory back waits for the GPU; others do not.
            idle = all(self._ended[each] <= item.end for each in of_gpu)
            return of_gpu if idle and any(self._ended[each] > item.start for each in of_gpu) else ()
        if sync.kind is SyncKind.STREAM and sync.stream is not None:
            tail = tails.get((sync.device, sync.stream))
            return () if tail is None else (tail,)
        if sync.kind is SyncKind.EVENT:
            if not self.knows_events or sync.event is None:
                return self._guessed(item)
            marked = self._events.get(sync.event)
            return () if marked is None else (marked,)
        return of_gpu

    def _guessed(self, item: Item) -> Iterable[int]:
        """Return the work that an event stood behind, as far as times tell: the last that was done when it returned."""
        found: int | None = None
        for places in self._of_stream.values():
            for place in reversed(places[-_LOOK_BACK:]):
                if self._ended[place] <= item.end + 1_000:
                    if found is None or self._ended[place] > self._ended[found]:
                        found = place
                    break
        return () if found is None else (found,)

    def _recorded(self) -> tuple[int, ...]:
        """Return when each step was complete in the recording."""
        first = latest = 0
        complete = []
        placed = 0
        for item in self.items:
            for _ in item.works:
                latest = max(latest, self._ended[placed])
                placed += 1
            if item.mark == 0:
                first, latest = item.start, max(latest, item.start)
            elif item.mark > 0 and item.mark & 1:
                latest = max(latest, item.start)
                complete.append(latest - first)
        return tuple(complete)


DEEP = QUEUE_LENGTH - 24
"""Launches queued before one may be held because the queue is full."""
_LOOK_BACK = 4096
"""Work of a stream that may still be queued when the host asks for it."""


def _served(items: Sequence[Item]) -> dict[int, Item]:
    """Return the wait that each copy served, by the copy's place: the call behind it on its thread."""
    found: dict[int, Item] = {}
    copies_of: dict[int, list[int]] = {}
    for place, item in enumerate(items):
        if item.event is not None:
            continue
        copies = copies_of.setdefault(item.thread, [])
        if item.sync is not None and item.sync.kind is not SyncKind.COPY and item.site != NO_SITE:
            for copy in reversed(copies):
                if not serves(items[copy], item):
                    break
                found[copy] = item
        if item.works and item.works[0].copy is not None and item.sync is None:
            copies.append(place)
        else:
            copies.clear()
    return found


def _unheld(work: Started, length: int) -> int:
    copy = work.copy
    if copy is None or not is_upload(copy) or not is_staged(copy):
        return length
    return min(length, copy.bytes * 1000 // PINNED_BYTES_PER_US)


def build(items: Sequence[Item], steps: int, *, knows_events: bool, launch_watch: int) -> Graph:
    """Return the graph of `items`, which hold `steps` steps."""
    return Builder(items, typical_of(items), knows_events).built(handovers(items), steps, launch_watch)
