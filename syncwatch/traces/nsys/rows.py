"""Makes the rows of nsys' tables for one recording, each call under the correlation id by which nsys knows it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from syncwatch.model.events import STEP_RANGE, Call, CopyEvent, Direction, KernelEvent, SyncEvent, SyncKind
from syncwatch.model.session import Recording
from syncwatch.traces.layout import PlacedRecording, SyncLabel, label_name
from syncwatch.traces.nsys import schema
from syncwatch.traces.nsys.schema import StringTable, json_of


class Calls:
    """The launches, copies and waits of one recording, each a row of nsys' table of runtime calls.

    Kernels that share a call, as those of a CUDA graph do, share its row. A wait inside a copy call is no call of its
    own: the row of the copy call lasts until the wait ends.

    Args:
        recording: what was recorded.
        first: the first correlation id; rules of nsys join on it alone, so it is unique in the file.
    """

    def __init__(self, recording: Recording, first: int) -> None:
        works: tuple[KernelEvent | CopyEvent, ...] = (*(recording.kernels or ()), *(recording.copies or ()))
        distinct = dict.fromkeys(work.call for work in works if work.call is not None)
        self._ids = {call: number for number, call in enumerate(distinct, first)}
        self._held: dict[Call, int] = {}
        self._threads = _by_thread(self._ids)
        self._own_waits: list[tuple[Call, int]] = []
        self.next_id = first + len(self._ids)
        self.waits = tuple(self._wait(sync) for sync in recording.syncs)
        """The correlation id of the call that waited, for each sync; None where it has no time."""

    def id_of(self, call: Call | None) -> int | None:
        """Return the correlation id of `call`, the host call behind a kernel or copy."""
        return None if call is None else self._ids[call]

    def rows(self) -> Iterator[tuple[Call, int, int]]:
        """Yield each call with its correlation id and its end in ns, later than its own where a wait went on in it."""
        for call, number in self._ids.items():
            yield call, number, self._held.get(call, call.end_ns)
        for call, number in self._own_waits:
            yield call, number, call.end_ns

    def own_lengths_ns(self) -> dict[int, int]:
        """Return how long the calls lasted that a wait made longer, by correlation id."""
        return {self._ids[call]: call.end_ns - call.start_ns for call in self._held}

    def _wait(self, sync: SyncEvent) -> int | None:
        if sync.start_ns is None or sync.end_ns is None:
            return None
        name = sync.kind.api() if sync.api is None else sync.api
        calls, starts = self._threads.get(sync.thread, ([], []))
        if sync.kind is SyncKind.COPY:
            index = bisect_right(starts, sync.start_ns) - 1
            if index >= 0 and calls[index].name == name and sync.start_ns <= calls[index].end_ns:
                return self._hold(calls[index], sync.end_ns)
            begun = sync.start_ns
        else:
            # A blocking copy is two calls, and the wait lasts for both: its own call begins after the copy call.
            index = bisect_left(starts, sync.end_ns) - 1
            inside = index >= 0 and sync.start_ns <= starts[index] and calls[index].end_ns <= sync.end_ns
            begun = calls[index].end_ns if inside else sync.start_ns
        self._own_waits.append((Call(sync.thread, name, begun, sync.end_ns), self.next_id))
        self.next_id += 1
        return self.next_id - 1

    def _hold(self, call: Call, end_ns: int) -> int:
        if end_ns > self._held.get(call, call.end_ns):
            self._held[call] = end_ns
        return self._ids[call]


def _by_thread(calls: dict[Call, int]) -> dict[int, tuple[list[Call], list[int]]]:
    threads: dict[int, list[Call]] = defaultdict(list)
    for call in calls:
        threads[call.thread].append(call)
    ordered = {thread: sorted(found, key=lambda call: call.start_ns) for thread, found in threads.items()}
    return {thread: (found, [call.start_ns for call in found]) for thread, found in ordered.items()}


Row = tuple[object, ...]

NVTX_COLUMNS = ("eventId", "start", "end", "eventType", "globalTid", "textId", "domainId", "jsonText")
RUNTIME_COLUMNS = ("start", "end", "eventClass", "globalTid", "correlationId", "nameId", "returnValue")
_SPAN_COLUMNS = ("start", "end", "deviceId", "contextId", "greenContextId", "streamId", "correlationId", "globalPid")
_WORK_COLUMNS = ("rowid", *_SPAN_COLUMNS)
KERNEL_COLUMNS = (*_WORK_COLUMNS, "demangledName", "shortName", "launchType")
MEMCPY_COLUMNS = (*_WORK_COLUMNS, "bytes", "copyKind", "srcKind", "dstKind")
MEMSET_COLUMNS = (*_WORK_COLUMNS, "bytes", "memKind")
SYNC_COLUMNS = (*_SPAN_COLUMNS, "syncType", "eventId")


@dataclass(frozen=True, slots=True)
class Part:
    """One recording with the ids that it has in the file."""

    placed: PlacedRecording
    labels: tuple[SyncLabel | None, ...]
    """One for each sync; None for the runner's own waits."""
    pid: int
    global_tids: tuple[int, ...]
    calls: Calls
    is_variant: bool
    """Whether it is a variant of a run; a process of another program's trace otherwise."""

    @property
    def recording(self) -> Recording:
        """What was recorded."""
        return self.placed.recording

    def span(self, start_ns: int, end_ns: int) -> tuple[int, int]:
        """Return start and end in the time of the file."""
        return start_ns + self.placed.shift_ns, end_ns + self.placed.shift_ns


def nvtx_rows(part: Part, strings: StringTable, first: int) -> Iterator[Row]:
    """Yield the session's ranges, then one range for each timed sync, then those of steps that have none.

    Args:
        part: the recording.
        strings: take the names.
        first: the first eventId; the others follow.
    """
    number = first
    for each in part.recording.ranges:
        span = part.span(each.start_ns, each.end_ns)
        yield _range(number, span, part.global_tids[each.thread], strings.id_of(each.name), schema.DEFAULT_DOMAIN)
        number += 1
    for sync, label in zip(part.recording.syncs, part.labels, strict=True):
        if sync.start_ns is None or sync.end_ns is None:
            continue
        span = part.span(sync.start_ns, sync.end_ns)
        name = strings.id_of(label_name(label))
        yield _range(number, span, part.global_tids[sync.thread], name, schema.SYNC_DOMAIN, _payload(sync, label))
        number += 1
    for added, (unmarked, start, end) in enumerate(_unmarked(part), number):
        span = part.span(start, end)
        yield _range(added, span, part.global_tids[0], strings.id_of(unmarked), schema.DEFAULT_DOMAIN)


def _range(number: int, span: tuple[int, int], thread: int, name: int, domain: int, payload: str | None = None) -> Row:
    return (number, *span, schema.PUSH_POP_RANGE, thread, name, domain, payload)


def _payload(sync: SyncEvent, label: SyncLabel | None) -> str:
    said = {} if label is None else msgspec.to_builtins(label)
    return json_of({**said, "kind": sync.kind, "op": sync.op, "allowed": sync.allowed})


def _unmarked(part: Part) -> Iterator[tuple[str, int, int]]:
    """Yield name and span of the variant and of the steps that no range of the session shows."""
    recording, placed = part.recording, part.placed
    known = {each.name for each in recording.ranges}
    if part.is_variant and recording.variant not in known and placed.start_ns < placed.end_ns:
        yield recording.variant, placed.start_ns - placed.shift_ns, placed.end_ns - placed.shift_ns
    for step in recording.steps:
        name = f"{STEP_RANGE} {step.index}"
        if name not in known:
            yield name, step.start_ns, step.end_ns


def count_unmarked(part: Part) -> int:
    """Return how many ranges `nvtx_rows` adds that are no part of the session."""
    return sum(1 for _ in _unmarked(part))


def runtime_rows(part: Part, strings: StringTable) -> Iterator[Row]:
    """Yield the host calls: launches, copies and waits."""
    for call, correlation, end_ns in part.calls.rows():
        span = part.span(call.start_ns, end_ns)
        thread = part.global_tids[call.thread]
        yield (*span, schema.event_class(call.name), thread, correlation, strings.id_of(call.name), 0)


def kernel_rows(part: Part, strings: StringTable, first: int) -> Iterator[Row]:
    """Yield the kernels, numbered from `first`."""
    kernels = (each for each in part.recording.kernels or () if each.memset_bytes is None)
    for number, kernel in enumerate(kernels, first):
        name = strings.id_of(kernel.name)
        yield (number, *_work(part, kernel), name, name, schema.REGULAR_LAUNCH)


def memset_rows(part: Part, first: int) -> Iterator[Row]:
    """Yield the memsets, numbered from `first`."""
    memsets = (each for each in part.recording.kernels or () if each.memset_bytes is not None)
    for number, memset in enumerate(memsets, first):
        yield (number, *_work(part, memset), memset.memset_bytes, schema.DEVICE_MEMORY)


def memcpy_rows(part: Part, first: int) -> Iterator[Row]:
    """Yield the copies that have a time, numbered from `first`."""
    timed = (each for each in part.recording.copies or () if each.start_ns is not None and each.end_ns is not None)
    for number, copy in enumerate(timed, first):
        host, gpu = schema.MEMORY_KINDS[copy.memory], schema.DEVICE_MEMORY
        kinds = {Direction.H2D: (host, gpu), Direction.D2H: (gpu, host), Direction.D2D: (gpu, gpu)}[copy.direction]
        yield (number, *_work(part, copy), copy.bytes, schema.COPY_KINDS[copy.direction], *kinds)


def _work(part: Part, work: KernelEvent | CopyEvent) -> Row:
    assert work.start_ns is not None and work.end_ns is not None
    return (
        *part.span(work.start_ns, work.end_ns),
        *_where(work.device, work.stream),
        part.calls.id_of(work.call),
        schema.global_pid(part.pid),
    )


def _where(device: int, stream: int | None) -> Row:
    """Return deviceId, contextId, greenContextId and streamId; a GPU has one context, as torch makes."""
    return device, context_of(device), None, schema.NO_STREAM if stream is None else stream


def context_of(device: int) -> int:
    """Return the id of the one context on `device`."""
    return device + 1


def sync_rows(part: Part) -> Iterator[Row]:
    """Yield what CUPTI would record of the waits for a stream, an event or the device, each as long as its call."""
    begun = {correlation: call.start_ns for call, correlation, _ in part.calls.rows()}
    for sync, correlation in zip(part.recording.syncs, part.calls.waits, strict=True):
        kind = schema.SYNC_TYPES.get(sync.kind)
        if correlation is None or sync.end_ns is None or kind is None:
            continue
        span = part.span(begun[correlation], sync.end_ns)
        process = schema.global_pid(part.pid)
        yield (*span, *_where(sync.device, sync.stream), correlation, process, kind, schema.NO_STREAM)
