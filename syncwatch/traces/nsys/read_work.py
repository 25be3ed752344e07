"""Reads what the GPU did from an nsys file: kernels, memsets, CUDA graphs and copies, with their calls."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from syncwatch.model.events import Call, CopyEvent, Direction, HostMemory, KernelEvent
from syncwatch.traces.nesting import StepClock
from syncwatch.traces.nsys.read_calls import PROCESS_BITS, TraceThreads
from syncwatch.traces.nsys.read_file import GRAPH, KERNEL, MEMCPY, MEMSET, NsysFile

_COPY_KINDS = (
    *("UNKNOWN", "HTOD", "DTOH", "HTOA", "ATOH", "ATOA", "ATOD", "DTOA", "DTOD", "HTOH", "PTOP"),
    *("UVM_HTOD", "UVM_DTOH", "UVM_DTOD"),
)
"""By the number that `copyKind` gives, where the file does not name them."""
_DIRECTIONS = {
    **dict.fromkeys(("HTOD", "HTOA"), Direction.H2D),
    **dict.fromkeys(("DTOH", "ATOH"), Direction.D2H),
    **dict.fromkeys(("DTOD", "DTOA", "ATOD", "ATOA", "PTOP"), Direction.D2D),
}
_MEMORY_KINDS = ("PAGEABLE", "PINNED", "DEVICE", "ARRAY", "MANAGED", "DEVICE_STATIC", "MANAGED_STATIC", "UNKNOWN")
"""nsys' own numbers, which are not CUPTI's."""
_HOST_MEMORY = {"PAGEABLE": HostMemory.PAGEABLE, "PINNED": HostMemory.PINNED}


@dataclass(frozen=True, slots=True)
class CallContext:
    """What tells the call and the step of each piece of work, for every process."""

    call_names: Mapping[int, str]
    """By `nameId`."""
    threads: Mapping[int, TraceThreads]
    """Of each process."""
    clocks: Mapping[int, StepClock]
    """Of each process."""


def devices_of(file: NsysFile) -> dict[int, int]:
    """Return the GPU that each process gave the most work to."""
    counts: dict[int, Counter[int]] = defaultdict(Counter)
    for table in (KERNEL, MEMCPY, MEMSET, GRAPH):
        if file.has(table, "deviceId"):
            query = f"SELECT {_process(file, table)}, deviceId, count(*) FROM {table} w GROUP BY 1, 2"
            for owner, device, count in file.rows(query):
                counts[owner][device] += count
    return {owner: found.most_common(1)[0][0] for owner, found in counts.items()}


def kernels_of(file: NsysFile, around: CallContext) -> dict[int, list[KernelEvent]]:
    """Return what ran on the GPUs and was no copy, by process and in order of its start.

    A CUDA graph that nsys recorded as one, which is its default, is one piece of work.
    """
    found: dict[int, list[KernelEvent]] = defaultdict(list)
    for table, (columns, size) in _NAMED_BY.items():
        if not file.has(table):
            continue
        column = next((name for name in columns if file.has(table, name)), columns[0])
        names = _names(file, table, column)
        for owner, start, end, device, stream, text, memset_bytes, *called in _rows(file, table, (column, size)):
            call = _call(called, around, owner)
            step = around.clocks[owner].at(start if call is None else call.start_ns)
            name = names.get(text) or _UNNAMED[table]
            found[owner].append(KernelEvent(step, stream, name, start, end, call, device, memset_bytes))
    for kernels in found.values():
        kernels.sort(key=lambda kernel: kernel.start_ns)
    return found


_NAMED_BY = {
    KERNEL: (("demangledName", "shortName", "mangledName"), "NULL"),
    MEMSET: (("memKind",), "bytes"),
    GRAPH: (("graphId",), "NULL"),
}
"""The columns that name a piece of work, the first that is there, and that of its bytes."""
_UNNAMED = {KERNEL: "kernel", MEMSET: "Memset", GRAPH: "CUDA graph"}


def copies_of(file: NsysFile, around: CallContext) -> dict[int, list[CopyEvent]]:
    """Return the copies that a GPU took part in, by process and in order of their calls, without stacks.

    Those that the driver makes to move managed memory have no call, and are copies too.
    """
    found: dict[int, list[CopyEvent]] = defaultdict(list)
    if not file.has(MEMCPY):
        return found
    directions = {number: _DIRECTIONS.get(name.removeprefix("UVM_")) for number, name in _copy_kinds(file).items()}
    memories: dict[int | None, HostMemory | None] = {
        number: _HOST_MEMORY.get(name) for number, name in _memory_kinds(file).items()
    }
    for owner, start, end, device, stream, size, kind, source, target, *called in _rows(
        file, MEMCPY, ("bytes", "copyKind", "srcKind", "dstKind")
    ):
        direction = directions.get(kind)
        if direction is None:
            continue
        call = _call(called, around, owner)
        thread = around.threads[owner].number(None) if call is None else call.thread
        step = around.clocks[owner].at(start if call is None else call.start_ns)
        host = {Direction.D2H: target, Direction.H2D: source}.get(direction)
        memory = memories.get(host)
        found[owner].append(
            CopyEvent(
                *(step, thread, direction, memory, size, None, None, None, stream, start, end),
                call=call,
                device=device,
            )
        )
    for copies in found.values():
        copies.sort(key=lambda copy: (copy.start_ns or 0) if copy.call is None else copy.call.start_ns)
    return found


def _rows(file: NsysFile, table: str, what: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
    """Yield process, start, end, device, stream, `what`, and thread, name, start and end of the call, in order."""
    optional = ("correlationId", "globalPid")
    file.require_sound(table, ("start", "end", "deviceId", "streamId", *_SIZES[table]), optional)
    process, columns = _process(file, table), file.columns(table, what, "w")
    correlation = file.columns(table, ("correlationId",), "w")
    # CUPTI gives work that it lost the times of two zeros.
    return file.rows(
        f'SELECT {process}, w.start, w."end", w.deviceId, w.streamId, {columns}, c.thread, c.name, c.start, c."end" '
        f"FROM {table} w LEFT JOIN host_call c ON c.process = {process} AND c.correlation = {correlation} "
        'WHERE w.start <> 0 OR w."end" <> 0 ORDER BY w.start'
    )


_SIZES = {KERNEL: (), MEMSET: ("bytes",), GRAPH: (), MEMCPY: ("bytes",)}


def _call(called: Sequence[int | None], around: CallContext, process: int) -> Call | None:
    thread, name, start, end = called
    if thread is None or name is None or start is None or end is None:
        return None
    return Call(around.threads[process].number(thread), around.call_names.get(name, ""), start, end)


def _process(file: NsysFile, table: str) -> str:
    return f"coalesce({file.columns(table, ('globalPid',), 'w')}, 0) >> {PROCESS_BITS}"


def _names(file: NsysFile, table: str, column: str) -> dict[int, str]:
    if table == KERNEL:
        return file.texts(KERNEL, column)
    if table == MEMSET:
        return {number: f"Memset ({name.capitalize()})" for number, name in _memory_kinds(file).items()}
    return {
        number: f"CUDA graph {number}"
        for (number,) in file.rows(f"SELECT DISTINCT {file.columns(table, (column,))} FROM {table}")
    }


def _copy_kinds(file: NsysFile) -> dict[int, str]:
    named = file.enum("ENUM_CUDA_MEMCPY_OPER").items()
    return dict(enumerate(_COPY_KINDS)) | {number: name.removeprefix("CUDA_MEMCPY_KIND_") for number, name in named}


def _memory_kinds(file: NsysFile) -> dict[int, str]:
    named = file.enum("ENUM_CUDA_MEM_KIND").items()
    return dict(enumerate(_MEMORY_KINDS)) | {
        number: name.removeprefix("CUDA_MEMOPR_MEMORY_KIND_") for number, name in named
    }
