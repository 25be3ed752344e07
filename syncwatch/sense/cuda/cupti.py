"""CUPTI as the sensor uses it: one subscription for the driver calls, and records of what the GPU did.

CUPTI has one subscriber in a process. torch.profiler becomes it at its first use and stays it.
"""

from __future__ import annotations

import ctypes
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple, overload

import torch

from syncwatch.compat.cupti import DRIVER_CALLS_REFUSED, MULTIPLE_SUBSCRIBERS, RecordKind, SyncType
from syncwatch.errors import NotMeasuredError
from syncwatch.sense.cuda.driver_calls import (
    BEGIN_CAPTURE,
    DRIVER_CALLS,
    END_CAPTURE,
    GRAPH_LAUNCHES,
    LINEAR_COPIES,
    MAY_BE_UNKNOWN,
    ORDERS_STREAMS,
    STARTS_WORK,
)
from syncwatch.sense.cuda.interrupts import Interrupts, OnLost
from syncwatch.sense.cuda.native.library import CALL, OnCall, load

_FLUSH_EVERY_MS = 500
"""How often CUPTI hands over records of a buffer that is not full, so that none waits for the end of a long run."""
_NAME_BYTES = 8192
_NONE = -(1 << 63)
"""What stands for None among the numbers of `records.cpp`."""
_NO_STREAM = 0xFFFFFFFF
"""CUPTI_SYNCHRONIZATION_INVALID_VALUE: the wait was for an event or for all streams."""


class Role(IntEnum):
    """What a driver call is watched for, as `records.cpp` counts it."""

    TOLD = 0
    STARTS_WORK = 1
    BEGINS_CAPTURE = 2
    ENDS_CAPTURE = 3
    COPIES = 4
    ORDERS = 5


_WATCHED = {
    Role.TOLD: tuple(DRIVER_CALLS.keys() - LINEAR_COPIES),
    Role.COPIES: tuple(LINEAR_COPIES),
    Role.STARTS_WORK: tuple(STARTS_WORK),
    Role.BEGINS_CAPTURE: BEGIN_CAPTURE,
    Role.ENDS_CAPTURE: END_CAPTURE,
    Role.ORDERS: ORDERS_STREAMS,
}
_LOOKED_AT = (Role.TOLD, Role.COPIES)
"""Those whose line is looked up."""


class CopyRecord(NamedTuple):
    """One copy, as the GPU's copy engine made it; times in epoch ns."""

    id: int
    """Its correlation id."""
    start_ns: int
    end_ns: int
    device: int
    stream: int
    bytes: int
    way: int
    """CUpti_ActivityMemcpyKind."""
    source: int
    target: int
    """CUpti_ActivityMemoryKind of both ends."""
    thread: int | None
    """The system's number of the thread that asked for it; None, like the rest, where its call went to Python."""
    number: int | None
    """The callback id of the call."""
    called_ns: int | None
    returned_ns: int | None


class CopyRecords(Sequence[CopyRecord]):
    """Copies as the library's rows of numbers, 104 bytes each; a record, which takes 500, is made when asked for."""

    _WIDTH = len(CopyRecord._fields)

    def __init__(self, rows: array[int]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows) // self._WIDTH

    @overload
    def __getitem__(self, index: int) -> CopyRecord: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[CopyRecord]: ...

    def __getitem__(self, index: int | slice) -> CopyRecord | Sequence[CopyRecord]:
        if isinstance(index, slice):
            return tuple(self[each] for each in range(*index.indices(len(self))))
        at = range(len(self))[index] * self._WIDTH
        row = self._rows[at : at + self._WIDTH]
        return CopyRecord(*row[:9], *map(_known, row[9:]))


class WaitRecord(NamedTuple):
    """What a call waited for."""

    device: int | None
    stream: int | None
    """None where it was not one."""
    event: int | None
    """None where it was none."""


class EventRecord(NamedTuple):
    """A stream records an event, or waits for one."""

    event: int
    stream: int
    device: int | None
    waits: bool
    thread: int
    """The system's number of the thread that called."""
    called_ns: int


class Looks:
    """How long it took to look up the line of each call, by its correlation id."""

    def __init__(self, rows: array[int] | None = None) -> None:
        self._rows = array("q") if rows is None else rows

    def of(self, identity: int) -> int:
        """Return it in ns; 0 where it is not known."""
        rows, count = self._rows, len(self._rows) // 2
        place = bisect_left(range(count), identity, key=lambda each: rows[2 * each])
        return rows[2 * place + 1] if place < count and rows[2 * place] == identity else 0


@dataclass(frozen=True, slots=True)
class Shared:
    """What many kernels have in common."""

    stream: int
    name: str
    device: int
    memset_bytes: int | None
    thread: int | None
    """The system's number of the thread that launched it; None where no call of it was seen."""
    number: int | None
    """The callback id of that call."""


@dataclass(frozen=True, slots=True)
class Records:
    """What CUPTI recorded, in order of time, its kernels joined to their launches."""

    kernels: array[int]
    """Six numbers for each: place in `shared`, place of its step or -1, start, end, begin and end of its launch."""
    shared: tuple[Shared, ...]
    copies: Sequence[CopyRecord]
    """In the order of their ids."""
    waits: dict[int, WaitRecord]
    """By the call's correlation id."""
    events: tuple[EventRecord, ...]
    """In the order of the calls."""
    looks: Looks
    kernels_alone: int
    """Kernels and memsets whose launch was not seen."""
    launches_alone: int
    """Launches without a kernel: into a graph that was captured, or refused."""
    lost: int
    """Records that CUPTI dropped or that cannot be read."""
    launches: int


class Cupti:
    """The one subscription of this process.

    Raises:
        NotMeasuredError: if CUPTI is not there, has a subscriber already, or does not know one of the calls.
    """

    def __init__(self, on_call: OnCall, *, records: bool, on_lost: OnLost | None = None) -> None:
        """Subscribe.

        Args:
            on_call: called at the end of each of `DRIVER_CALLS`, on the thread that made it.
            records: whether to keep what the GPU did, and which call launched it.
            on_lost: called with what a call came with where Ctrl-C came before `on_call` ran.
        """
        self._library = load()
        self._kinds = tuple(RecordKind) if records else ()
        # Held: CUPTI calls it.
        self._on_call = CALL(on_call)
        self._open()
        self._check(self._library.syncwatch_subscribe(self._on_call))
        self._lost = Interrupts(self._library, on_call, on_lost)
        self._lost.start()
        try:
            self._record()
        except NotMeasuredError:
            self.close()
            raise

    def _open(self) -> None:
        version = torch.version.cuda
        if version is None:
            raise NotMeasuredError("This torch was built without CUDA.")
        name = f"libcupti.so.{version.partition('.')[0]}"
        status = self._library.syncwatch_open(name.encode())
        if status:
            why = "cannot be loaded" if status == 1 else "lacks a function that syncwatch needs"
            raise NotMeasuredError(f"{name} {why}. Install the CUPTI of CUDA {version}.")

    def _check(self, status: int) -> None:
        if status == MULTIPLE_SUBSCRIBERS:
            raise NotMeasuredError("CUPTI has a subscriber already: torch.profiler, nsys or another profiler.")
        if status:
            raise NotMeasuredError(f"CUPTI refused a subscriber (error {status}).")

    def _record(self) -> None:
        repeated = (ctypes.c_uint32 * len(GRAPH_LAUNCHES))(*GRAPH_LAUNCHES)
        self._check(self._library.syncwatch_records(repeated, len(GRAPH_LAUNCHES)))
        for role, calls in _WATCHED.items():
            for number in calls if self._kinds or role in _LOOKED_AT else ():
                status = self._library.syncwatch_callback(number, role.value)
                if status and number not in MAY_BE_UNKNOWN:
                    # Without it every wait of this call would be missing, and nobody would know.
                    raise NotMeasuredError(DRIVER_CALLS_REFUSED.format(number=number, status=status))
        for kind in self._kinds:
            self._check(self._library.syncwatch_record(kind.value, 1))
        self._library.syncwatch_flush_period(_FLUSH_EVERY_MS)

    def ahead_ns(self) -> int:
        """Return by how many ns CUPTI's clock is ahead of the system's; 0 where it is less than can be told."""
        ahead, within = ctypes.c_int64(), ctypes.c_int64()
        self._library.syncwatch_clock(ctypes.byref(ahead), ctypes.byref(within))
        return ahead.value if abs(ahead.value) > within.value else 0

    def close(self) -> None:
        """End it; CUPTI is free again, and the records so far are kept until `records` is asked."""
        for kind in self._kinds:
            self._library.syncwatch_record(kind.value, 0)
        self._library.syncwatch_flush(1)
        self._library.syncwatch_unsubscribe()
        self._lost.stop()

    def records(self, steps: Sequence[tuple[int, int]], ahead_ns: int) -> Records:
        """Return what was recorded, once it is closed, and forget it.

        Args:
            steps: begin and end of each step in epoch ns, sorted by begin.
            ahead_ns: by how much CUPTI's clock is ahead.
        """
        library = self._library
        left = (ctypes.c_int64 * 5)()
        library.syncwatch_finish(left)
        begins, ends = (_numbers(column) for column in zip(*steps, strict=True)) if steps else (_numbers(()),) * 2
        library.syncwatch_place(ahead_ns, begins, ends, len(steps))
        try:
            syncs, orders = self._rows(2), _rows_by_id(self._rows(4), 3)
            return Records(
                kernels=self._rows(0),
                shared=tuple(self._shared(number) for number in range(library.syncwatch_shared_count())),
                copies=CopyRecords(self._rows(1)),
                waits=_waits(syncs),
                events=tuple(_events(syncs, self._rows(3), orders)),
                looks=Looks(self._rows(5)),
                kernels_alone=left[0],
                launches_alone=left[1],
                lost=left[2] + left[3],
                launches=left[4],
            )
        finally:
            self.forget()

    def forget(self) -> None:
        """Let go of what was recorded, once it is closed."""
        self._library.syncwatch_forget()

    def _rows(self, which: int) -> array[int]:
        """Return the rows of one kind, and let the library forget them piece by piece, so that none is held twice."""
        found = array("q")
        while size := self._library.syncwatch_front(which):
            piece = array("q", bytes(8 * size))
            self._library.syncwatch_take(which, piece.buffer_info()[0], size)
            found.extend(piece)
        return found

    def _shared(self, number: int) -> Shared:
        fields = (ctypes.c_int64 * 6)()
        self._library.syncwatch_shared(number, fields)
        stream, name, device, *rest = fields
        text = ctypes.create_string_buffer(_NAME_BYTES)
        self._library.syncwatch_name(name, text, _NAME_BYTES)
        return Shared(stream, text.value.decode(errors="replace"), device, *map(_known, rest))


def _waits(rows: array[int]) -> dict[int, WaitRecord]:
    """Return what each call waited for; many waited for the same, which is held once."""
    found: dict[int, WaitRecord] = {}
    distinct: dict[WaitRecord, WaitRecord] = {}
    for identity, kind, device, stream, event in _cut(rows, 5):
        if kind != SyncType.STREAM_WAIT_EVENT:
            event_or_none = event if kind == SyncType.EVENT else None
            what = WaitRecord(_known(device), None if stream == _NO_STREAM else stream, event_or_none)
            found[identity] = distinct.setdefault(what, what)
    return found


def _rows_by_id(rows: array[int], width: int) -> dict[int, tuple[int, ...]]:
    return {row[0]: row[1:] for row in _cut(rows, width)}


def _events(syncs: array[int], recorded: array[int], calls: dict[int, tuple[int, ...]]) -> Iterator[EventRecord]:
    """Yield, of each call that records an event or lets a stream wait for one, its record."""
    found = [(identity, event, stream, device, False) for identity, device, stream, event in _cut(recorded, 4)]
    found += [
        (identity, event, stream, device, True)
        for identity, kind, device, stream, event in _cut(syncs, 5)
        if kind == SyncType.STREAM_WAIT_EVENT
    ]
    for identity, event, stream, device, waits in sorted(found):
        call = calls.get(identity)
        if call is not None:
            thread, called = call
            yield EventRecord(event, stream, _known(device), waits, thread, called)


def _numbers(values: Sequence[int]) -> ctypes.Array[ctypes.c_int64]:
    return (ctypes.c_int64 * len(values))(*values)


def _cut(numbers: array[int], width: int) -> Iterator[tuple[int, ...]]:
    each = iter(numbers)
    return zip(*[each] * width, strict=True)


def _known(number: int) -> int | None:
    return None if number == _NONE else number
