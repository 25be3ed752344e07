"""Puts what a recording holds of some steps into one order: calls of the host, with the work that each began."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from syncwatch.model.compact import launched
from syncwatch.model.events import STEP_RANGE, CopyEvent, Direction, EventCall, HostMemory, Step, SyncEvent, SyncKind
from syncwatch.model.session import Recording

Stream = tuple[int, "int | None"]
"""The GPU and the number of the stream."""


@dataclass(slots=True)
class Started:
    """Work on the GPU as it was recorded; times in ns."""

    stream: Stream
    start: int
    end: int
    copy: CopyEvent | None = None
    """The copy that it is; None for kernels."""


@dataclass(slots=True)
class Item:
    """A call of the host as it was recorded, or the border of a step; times in ns."""

    thread: int
    start: int
    end: int
    watching: int = 0
    """For how long watching then held the thread."""
    before: int = 0
    """For how long watching held the thread before it."""
    works: list[Started] = field(default_factory=list)
    sync: SyncEvent | None = None
    """The wait that it is."""
    site: int = -1
    event: EventCall | None = None
    mark: int = -1

    @property
    def rank(self) -> tuple[int, int]:
        """Return what items are ordered by; of those that begin at one moment, steps end and begin first."""
        if self.mark >= 0:
            return self.start, 1 - (self.mark & 1)
        # An event call takes no time here, and a copy comes before the wait for it.
        return self.start, 2 if self.event is not None else 3 if self.sync is None else 4


def items_of(recording: Recording, sites: Sequence[int], steps: Sequence[Step], begin_ns: int) -> list[Item]:
    """Return what happened from `begin_ns` to the end of the last of `steps`, in order.

    Args:
        recording: times of waits, kernels and copies, and the calls of the two, are in it.
        sites: the site of each wait of it, -1 for none.
        steps: those that are replayed, in order.
        begin_ns: before the first of them.
    """
    until = steps[-1].end_ns
    found = [*_launches(recording, begin_ns, until), *_copies(recording, begin_ns, until)]
    found += _waits(recording, sites, begin_ns, until)
    found += (
        Item(each.thread, each.start_ns, each.start_ns, event=each)
        for each in recording.event_calls or ()
        if begin_ns <= each.start_ns <= until
    )
    found = _holding_copies_are_waits(sorted(found, key=lambda each: each.rank))
    busiest, marked = _busiest_thread(found), _threads_of_steps(recording)
    for number, step in enumerate(steps):
        thread = marked.get(step.index, busiest)
        found.append(Item(thread, step.start_ns, step.start_ns, mark=2 * number, before=step.before_ns))
        found.append(Item(thread, step.end_ns, step.end_ns, step.after_ns, mark=2 * number + 1))
    return sorted(found, key=lambda each: each.rank)


def _launches(recording: Recording, begin_ns: int, until: int) -> Iterator[Item]:
    """Yield the calls that began kernels; those of one launch of a graph are one work."""
    item: dict[tuple[int, int], Item] = {}
    for device, stream, start, end, thread, called, returned in launched(recording.kernels or ()):
        if not begin_ns <= called <= until:
            continue
        known = item.get((thread, called))
        if known is None:
            item[thread, called] = Item(thread, called, returned, works=[Started((device, stream), start, end)])
        else:
            work = known.works[0]
            work.start, work.end = min(work.start, start), max(work.end, end)
    yield from item.values()


def _copies(recording: Recording, begin_ns: int, until: int) -> Iterator[Item]:
    for copy in recording.copies or ():
        call = copy.call
        if call is None or copy.start_ns is None or copy.end_ns is None or not begin_ns <= call.start_ns <= until:
            continue
        work = Started((copy.device, copy.stream), copy.start_ns, copy.end_ns, copy)
        yield Item(call.thread, call.start_ns, call.end_ns, call.watch_ns, works=[work])


def _waits(recording: Recording, sites: Sequence[int], begin_ns: int, until: int) -> Iterator[Item]:
    for sync, site in zip(recording.syncs, sites, strict=True):
        if sync.start_ns is None or sync.end_ns is None or not begin_ns <= sync.start_ns <= until:
            continue
        yield Item(sync.thread, sync.start_ns, sync.end_ns, sync.watch_ns, sync=sync, site=site)


def _holding_copies_are_waits(items: list[Item]) -> list[Item]:
    """Return `items`, in order, with a copy that held the host and the wait that it was as one call."""
    gone: set[int] = set()
    last: dict[int, int] = {}
    for place, item in enumerate(items):
        if item.event is not None:
            continue
        before = last.get(item.thread)
        if item.sync is not None and item.sync.kind is SyncKind.COPY and before is not None:
            copy = items[before]
            if copy.works and copy.works[0].copy is not None and copy.sync is None:
                gone.add(before)
                item.start, item.works = copy.start, copy.works
                item.watching = max(item.watching, copy.watching)
        last[item.thread] = place
    return [item for place, item in enumerate(items) if place not in gone]


def _threads_of_steps(recording: Recording) -> dict[int, int]:
    """Return the thread that marked each step, by the number of the step: its range has it."""
    begin = f"{STEP_RANGE} "
    named = ((each.name.removeprefix(begin), each.thread) for each in recording.ranges if each.name.startswith(begin))
    return {int(number): thread for number, thread in named if number.isdecimal()}


def _busiest_thread(items: Sequence[Item]) -> int:
    """Return the thread that most calls are of, for steps without a range."""
    counts = Counter(each.thread for each in items)
    return counts.most_common(1)[0][0] if counts else 0


def serves(copy: Item, wait: Item) -> bool:
    """Return whether `copy`, the call before `wait` on its thread, is what that waits for."""
    if not copy.works or wait.sync is None:
        return False
    known = copy.works[0].copy
    return known is not None and known.blocking is True and (known.stack == wait.sync.stack or copy.end > wait.start)


def is_upload(copy: CopyEvent) -> bool:
    """Return whether a copy goes on where nobody waits for it: what it brings to the GPU is needed there."""
    return copy.direction is not Direction.D2H


def is_staged(copy: CopyEvent) -> bool:
    """Return whether the driver moves it piece by piece, through memory of its own."""
    return copy.memory is HostMemory.PAGEABLE
