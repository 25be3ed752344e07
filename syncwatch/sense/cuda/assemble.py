"""Makes events of what one watch noted: the calls with their lines, joined to CUPTI's records by correlation id."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from syncwatch.compat.cupti import CopyWay, MemoryKind
from syncwatch.model.compact import CompactCopies, CompactKernels, CompactSyncs
from syncwatch.model.events import Call, Direction, EventCall, HostMemory, Step, SyncKind
from syncwatch.model.runtime import holds
from syncwatch.model.session import Joins
from syncwatch.sense.cuda.cupti import CopyRecord, Records
from syncwatch.sense.cuda.driver_calls import STARTS_WORK
from syncwatch.sense.cuda.native.library import CAPTURED
from syncwatch.sense.cuda.runtime_calls import NAME, NotedCall
from syncwatch.traces.nesting import StepClock

RECORDS = "cupti"
"""What CUPTI's records are called in `seen_by` and in the coverage."""
_WAYS: dict[int, Direction] = {CopyWay.HOST_TO_DEVICE: Direction.H2D, CopyWay.DEVICE_TO_HOST: Direction.D2H}
_MEMORY: dict[int, HostMemory] = {MemoryKind.PAGEABLE: HostMemory.PAGEABLE, MemoryKind.PINNED: HostMemory.PINNED}


@dataclass(slots=True)
class Assembled:
    """The events of one watch."""

    syncs: CompactSyncs = field(default_factory=CompactSyncs)
    copies: CompactCopies = field(default_factory=CompactCopies)
    kernels: CompactKernels = field(default_factory=CompactKernels)
    event_calls: tuple[EventCall, ...] | None = None
    joins: Joins | None = None
    """None, like the event calls, where there are no records."""


@dataclass(slots=True)
class Assembly:
    """Joins the calls of one watch to their records."""

    noted: Sequence[NotedCall]
    operator: Callable[[NotedCall], str | None]
    """Names the operator of torch that made a call."""
    thread: Callable[[int], int]
    """Gives the number of a thread in the recording, by the system's."""
    records: Records | None
    """None while the watch lasts, and where CUPTI was taken."""
    steps: Sequence[Step] = ()
    _found: Assembled = field(default_factory=Assembled)
    _copy_ids: array[int] = field(default_factory=lambda: array("q"))
    """Of the records of copies, sorted: a dictionary of 100,000 would take 17 MB."""
    _met: bytearray = field(default_factory=bytearray)
    """Whether each of them has met its call."""
    _awaited: dict[int, tuple[int, int]] = field(default_factory=dict)
    """By its id of each copy whose wait comes next: when the first of its instruction began, and when it was done."""
    _joined: int = 0
    _alone: int = 0
    _records_alone: int = 0

    def assembled(self) -> Assembled:
        """Return every event, waits in the order in which they ended."""
        records = self.records
        if records is not None:
            self._copy_ids = array("q", (each.id for each in records.copies))
            self._met = bytearray(len(self._copy_ids))
        for each, waited_for in zip(self.noted, self._waited_for(), strict=True):
            kind = each.call.kind
            if kind is None:
                self._add_copy(each, waited_for=bool(waited_for))
            else:
                self._add_wait(each, kind)
        if records is not None:
            self._add_other_copies(records)
            self._add_kernels(records)
            self._found.event_calls = self.event_calls()
            self._found.joins = self._joins(records)
        return self._found

    def _waited_for(self) -> bytearray:
        """Return of each call whether it is a copy that the calling instruction waited for just after it.

        From the end to the begin, since a wait tells of the last copy before it, and each copy of the one before.
        """
        found = bytearray(len(self.noted))
        wanted: set[int] = set()
        for place in reversed(range(len(found))):
            each = self.noted[place]
            if each.call.kind is None:
                if each.id not in wanted:
                    continue
                wanted.discard(each.id)
                found[place] = True
            wanted.add(each.copy)
        return found

    def _place_of(self, identity: int) -> int | None:
        """Return the place of the first record of a copy, by the correlation id of its call."""
        place = bisect_left(self._copy_ids, identity)
        return place if place < len(self._copy_ids) and self._copy_ids[place] == identity else None

    def _record_of(self, noted: NotedCall) -> CopyRecord | None:
        place = self._place_of(noted.id)
        if self.records is None or place is None:
            return None
        self._met[place] = True
        return self.records.copies[place]

    def _add_wait(self, noted: NotedCall, kind: SyncKind) -> None:
        device: int | None = None
        stream: int | None = None
        event: int | None = None
        seen_by: tuple[str, ...] = (NAME,)
        if self.records is not None and kind is not SyncKind.ALLOCATION:
            known = self.records.waits.get(noted.id)
            if known is None:
                self._alone += 1
            else:
                self._joined += 1
                (device, stream, event), seen_by = known, (NAME, RECORDS)
        begin = self._begin(noted)
        self._sync(noted, kind, begin, stream, seen_by, device or 0, event)

    def _begin(self, wait: NotedCall) -> int:
        """Return when the host began to stand still: with the copy before, which a read waits for.

        Between the copy and the wait syncwatch looks the line up. Until the GPU is done with the copy the host would
        have stood still all the same; what is longer is left out.
        """
        begin, done = self._awaited.pop(wait.copy, (wait.begin_ns, wait.begin_ns))
        return begin + wait.begin_ns - min(done, wait.begin_ns)

    def _sync(
        self,
        noted: NotedCall,
        kind: SyncKind,
        begin: int,
        stream: int | None,
        seen_by: tuple[str, ...],
        device: int,
        event: int | None = None,
    ) -> None:
        step, thread, pacing, within, allowed = noted.around
        stack = None if noted.stack < 0 else noted.stack
        said = (thread, noted.explicit, self.operator(noted), stack, stream, pacing, seen_by)
        self._found.syncs.add(
            step, begin, noted.end_ns, kind, (*said, noted.call.api, within, allowed, device), event, self._look(noted)
        )

    def _add_copy(self, noted: NotedCall, *, waited_for: bool) -> None:
        record = self._record_of(noted)
        if waited_for:
            begin, _ = self._awaited.pop(noted.copy, (noted.begin_ns, 0))
            self._awaited[noted.id] = begin, noted.end_ns if record is None else max(record.end_ns, noted.end_ns)
        step, thread, *_ = noted.around
        api = noted.call.api
        call = Call(thread, api, noted.begin_ns, noted.end_ns, self._look(noted))
        if record is None:
            if noted.bytes == CAPTURED:
                return
            self._alone += self.records is not None
            direction, memory, size = noted.call.direction, None, noted.bytes
            if direction is None:
                # Its record alone could tell; whether it held the host is not known either.
                return
            start = end = stream = None
            device = 0
        else:
            self._joined += 1
            direction, memory = ends_of(record)
            size, start, end = record.bytes, record.start_ns, record.end_ns
            stream, device = record.stream, record.device
        held = not waited_for and holds(api, direction, memory, size)
        if held:
            seen_by = (NAME,) if record is None else (NAME, RECORDS)
            self._sync(noted, SyncKind.COPY, noted.begin_ns, stream, seen_by, device)
        blocking = waited_for or held if record is not None or waited_for or held else None
        stack = None if noted.stack < 0 else noted.stack
        shared = (thread, blocking, self.operator(noted), stack, stream, device)
        self._found.copies.add(step, size, start, end, call, (direction, memory), shared)

    def _add_other_copies(self, records: Records) -> None:
        """Add the copies whose calls were not looked up in Python: on the device, and of graphs."""
        clock = StepClock(self.steps)
        for record in records.copies:
            place = self._place_of(record.id)
            if place is not None and self._met[place]:
                continue
            direction, memory = ends_of(record)
            step, call = None, None
            if record.thread is None or record.called_ns is None or record.returned_ns is None:
                self._records_alone += 1
            else:
                api = STARTS_WORK.get(record.number or 0, "a driver call")
                call = Call(self.thread(record.thread), api, record.called_ns, record.returned_ns)
                step = clock.at(record.called_ns)
            self._found.copies.add(
                step,
                record.bytes,
                record.start_ns,
                record.end_ns,
                call,
                (direction, memory),
                (0 if call is None else call.thread, False, None, None, record.stream, record.device),
            )

    def _look(self, noted: NotedCall) -> int:
        return 0 if self.records is None else self.records.looks.of(noted.id)

    def event_calls(self) -> tuple[EventCall, ...] | None:
        """Return what ties streams to one another; None where there are no records."""
        if self.records is None:
            return None
        return tuple(
            EventCall(each.event, each.stream, each.waits, self.thread(each.thread), each.called_ns, each.device or 0)
            for each in self.records.events
        )

    def _add_kernels(self, records: Records) -> None:
        shared = []
        for each in records.shared:
            thread = None if each.thread is None else self.thread(each.thread)
            api = None if each.number is None else STARTS_WORK.get(each.number, "a driver call")
            shared.append((each.stream, each.name, each.device, each.memset_bytes, thread, api))
        ordered = sorted(self.steps, key=lambda step: step.start_ns)
        self._found.kernels.extend(records.kernels, shared, [step.index for step in ordered])

    def _joins(self, records: Records) -> Joins:
        kernels = len(records.kernels) // 6
        launched = records.launches - records.launches_alone
        return Joins(
            calls=self._joined + self._alone + records.launches,
            joined=self._joined + launched,
            calls_alone=self._alone + records.launches_alone,
            records_alone=records.kernels_alone + self._records_alone,
            kernels=kernels,
            lost=records.lost,
        )


def ends_of(record: CopyRecord) -> tuple[Direction, HostMemory | None]:
    """Return where the bytes of a copy went, and what kind of host memory it touched; None where it touched none."""
    direction = _WAYS.get(record.way, Direction.D2D)
    if direction is Direction.D2D:
        return direction, None
    return direction, _MEMORY.get(record.source if direction is Direction.H2D else record.target)
