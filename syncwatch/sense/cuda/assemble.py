"""Makes events of what one watch noted: the calls with their lines, joined to CUPTI's records by correlation id."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from syncwatch.compat.cupti import CopyWay, MemoryKind
from syncwatch.model.compact import CompactCopies, CompactKernels, CompactSyncs
from syncwatch.model.events import Call, Direction, HostMemory, Step, SyncKind
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
    joins: Joins | None = None
    """None where there are no records."""


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
    _copies: dict[int, CopyRecord] = field(default_factory=dict)
    _copy_calls: dict[int, NotedCall] = field(default_factory=dict)
    _joined: int = 0
    _alone: int = 0
    _records_alone: int = 0

    def assembled(self) -> Assembled:
        """Return every event, waits in the order in which they ended."""
        records = self.records
        if records is not None:
            self._copies = {each.id: each for each in records.copies}
        self._copy_calls = {each.id: each for each in self.noted if each.call.kind is None}
        waits = [each for each in self.noted if each.call.kind is not None]
        waited_for = {copy.id for each in waits for copy in self._copies_before(each)}
        for each in self.noted:
            if each.call.kind is None:
                self._add_copy(each, waited_for=each.id in waited_for)
            else:
                self._add_wait(each, each.call.kind)
        if records is not None:
            self._add_other_copies(records)
            self._add_kernels(records)
            self._found.joins = self._joins(records)
        return self._found

    def _copies_before(self, wait: NotedCall) -> Iterator[NotedCall]:
        """Yield the copies that the calling instruction made just before `wait`, which it waited for."""
        copy = self._copy_calls.get(wait.copy)
        while copy is not None:
            yield copy
            copy = self._copy_calls.get(copy.copy)

    def _add_wait(self, noted: NotedCall, kind: SyncKind) -> None:
        device: int | None = None
        stream: int | None = None
        seen_by: tuple[str, ...] = (NAME,)
        if self.records is not None and kind is not SyncKind.ALLOCATION:
            known = self.records.waits.get(noted.id)
            if known is None:
                self._alone += 1
            else:
                self._joined += 1
                (device, stream), seen_by = known, (NAME, RECORDS)
        begin = self._begin(noted)
        self._sync(noted, kind, begin, stream, seen_by, device or 0)

    def _begin(self, wait: NotedCall) -> int:
        """Return when the host began to stand still: with the copy before, which a read waits for.

        Between the copy and the wait syncwatch looks the line up. Until the GPU is done with the copy the host would
        have stood still all the same; what is longer is left out.
        """
        copies = tuple(self._copies_before(wait))
        if not copies:
            return wait.begin_ns
        last, record = copies[0], self._copies.get(copies[0].id)
        done = last.end_ns if record is None else max(record.end_ns, last.end_ns)
        return copies[-1].begin_ns + wait.begin_ns - min(done, wait.begin_ns)

    def _sync(
        self, noted: NotedCall, kind: SyncKind, begin: int, stream: int | None, seen_by: tuple[str, ...], device: int
    ) -> None:
        step, thread, pacing, within, allowed = noted.around
        stack = None if noted.stack < 0 else noted.stack
        said = (thread, noted.explicit, self.operator(noted), stack, stream, pacing, seen_by)
        self._found.syncs.add(step, begin, noted.end_ns, kind, (*said, noted.call.api, within, allowed, device))

    def _add_copy(self, noted: NotedCall, *, waited_for: bool) -> None:
        record = self._copies.get(noted.id)
        step, thread, *_ = noted.around
        api = noted.call.api
        call = Call(thread, api, noted.begin_ns, noted.end_ns)
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
            if record.id in self._copy_calls:
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
