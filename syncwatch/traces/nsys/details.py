"""Keeps what nsys' tables have no place for, in two tables of our own, for the way back.

`dump` tells how both lie in the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from syncwatch.model.events import CopyEvent, Direction, KernelEvent, SyncEvent
from syncwatch.model.session import Recording
from syncwatch.traces.nsys import schema
from syncwatch.traces.nsys.rows import Part, Row
from syncwatch.traces.nsys.schema import json_of

SESSION_KEY = "session"
COUNT_KEY = "count"
EVENT_COLUMNS = ("recording", "kind", "eventId", "correlationId", "details")
SYNC, COPY, KERNEL, MEMSET, RANGE = "sync", "copy", "kernel", "memset", "range"


@dataclass(slots=True)
class Numbers:
    """The next free row of each of nsys' tables."""

    nvtx: int = 1
    kernel: int = 1
    memset: int = 1
    copy: int = 1


def event_rows(part: Part, recording: int, numbers: Numbers) -> Iterator[Row]:
    """Yield a row for every event of `part`, in the order of the recording, and count `numbers` on."""
    # The rows of the table of ranges: the session's own, then those of the syncs.
    own, numbers.nvtx = numbers.nvtx, numbers.nvtx + len(part.recording.ranges)
    for sync, correlation in zip(part.recording.syncs, part.calls.waits, strict=True):
        if correlation is None:
            yield recording, SYNC, None, None, json_of(sync)
            continue
        yield recording, SYNC, numbers.nvtx, correlation, json_of(_of_sync(sync))
        numbers.nvtx += 1
    for copy in part.recording.copies or ():
        if copy.start_ns is None or copy.end_ns is None:
            yield recording, COPY, None, None, json_of(copy)
            continue
        yield recording, COPY, numbers.copy, part.calls.id_of(copy.call), json_of(_of_copy(copy))
        numbers.copy += 1
    for kernel in part.recording.kernels or ():
        yield _of_kernel(kernel, part, recording, numbers)
    for number in range(own, own + len(part.recording.ranges)):
        yield recording, RANGE, number, None, None


def _of_sync(sync: SyncEvent) -> dict[str, Any]:
    in_tables = {"thread", "start_ns", "end_ns"}
    if sync.kind in schema.SYNC_TYPES:
        in_tables |= {"stream", "device"}
    if sync.api is not None:
        in_tables.add("api")
    return _without(sync, in_tables)


def _of_copy(copy: CopyEvent) -> dict[str, Any]:
    in_tables = {"start_ns", "end_ns", "stream", "device", "bytes", "direction", "call"}
    if copy.direction is not Direction.D2D:
        in_tables.add("memory")
    if copy.call is not None and copy.call.thread == copy.thread:
        in_tables.add("thread")
    return _without(copy, in_tables)


def _of_kernel(kernel: KernelEvent, part: Part, recording: int, numbers: Numbers) -> Row:
    correlation = part.calls.id_of(kernel.call)
    if kernel.memset_bytes is None:
        number, numbers.kernel = numbers.kernel, numbers.kernel + 1
        return recording, KERNEL, number, correlation, json_of({"step": kernel.step})
    number, numbers.memset = numbers.memset, numbers.memset + 1
    return recording, MEMSET, number, correlation, json_of({"step": kernel.step, "name": kernel.name})


def _without(event: SyncEvent | CopyEvent, in_tables: set[str]) -> dict[str, Any]:
    return {field: value for field, value in msgspec.to_builtins(event).items() if field not in in_tables}


def recording_key(number: int) -> str:
    """Return under which key of SYNCWATCH_SESSION the recording `number` stands."""
    return f"recording {number}"


@dataclass(frozen=True, slots=True)
class RecordingFacts:
    """A recording without its events, and how its events are found in the file."""

    recording: Recording
    """`syncs` and `ranges` are empty; `copies` and `kernels` too, or None where none were recorded. The steps keep the
    recording's own clock."""
    shift_ns: int
    """What was added to every time of its events."""
    global_tids: tuple[int, ...]
    """The globalTid of each of its threads."""
    call_lengths_ns: dict[int, int]
    """How long a call really lasted whose row was made longer by a wait inside, by correlation id."""
    events: int
    """How many rows hold its events, so that a file from which some were cut is known by it."""


def count_events(recording: Recording) -> int:
    """Return how many events `recording` has."""
    return sum(map(len, (recording.syncs, recording.copies or (), recording.kernels or (), recording.ranges)))
