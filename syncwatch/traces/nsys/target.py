"""Lists the processes, threads, GPUs and streams that an nsys file names, and what it says of itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from syncwatch.model.events import CopyEvent, KernelEvent, SyncEvent
from syncwatch.model.session import DeviceKind, Recorder, Session
from syncwatch.traces.nsys import names
from syncwatch.traces.nsys.rows import Part, Row, context_of
from syncwatch.traces.nsys.schema import SCHEMA_VERSION, Strings
from syncwatch.version import __version__

Sheet = tuple[str, tuple[str, ...], list[Row]]
"""A table, its columns, and rows of it."""

_FIRST_PID = 1000
_TORCH_STREAM = 7
"""What CUPTI calls the default stream of the one context that torch makes."""
_STREAM = ("streamId", "hwId", "vmId", "processId", "contextId", "priority", "flag")
_NULL_STREAM = ("streamId", "hwId", "vmId", "processId", "deviceId", "contextId")


def thread_ids(session: Session) -> list[tuple[int, tuple[int, ...]]]:
    """Return pid and globalTids of each recording.

    No session tells real ones. Variants ran in one process, where threads of one name are one; recordings of another
    program's trace are a process each.
    """
    found = []
    known: dict[tuple[int, str, int], int] = {}
    for number, recording in enumerate(session.recordings):
        pid = _FIRST_PID if session.recorder is Recorder.SYNCWATCH else _FIRST_PID * (number + 1)
        # A recording without a thread still gets one, for its ranges.
        threads = recording.threads or ("MainThread",)
        keys = [(pid, name, threads[:index].count(name)) for index, name in enumerate(threads)]
        tids = tuple(known.setdefault(key, names.global_tid(pid, pid + len(known))) for key in keys)
        found.append((pid, tids))
    return found


def sheets(session: Session, parts: Sequence[Part], end_ns: int, strings: Strings) -> Iterator[Sheet]:
    """Yield what the file says of the machine and of itself; nothing of it names a user or a host."""
    processes = {part.pid: _process(session, part) for part in parts}
    yield "PROCESSES", ("globalPid", "pid", "name"), [(names.global_pid(pid), pid, processes[pid]) for pid in processes]
    yield "ThreadNames", ("nameId", "priority", "globalTid"), list(_threads(parts, strings))
    yield "ANALYSIS_DETAILS", ("globalVid", "duration", "startTime", "stopTime"), [(names.GLOBAL_VM, end_ns, 0, end_ns)]
    meta: list[Row] = [
        ("EXPORT_PRODUCT_NAME", "syncwatch"),
        ("EXPORT_PRODUCT_VERSION", __version__),
        ("EXPORT_SCHEMA_VERSION", ".".join(map(str, SCHEMA_VERSION))),
        *(
            (f"EXPORT_SCHEMA_VERSION_{part}", str(number))
            for part, number in zip(("MAJOR", "MINOR", "MICRO"), SCHEMA_VERSION, strict=True)
        ),
    ]
    yield "EXPORT_META_DATA", ("name", "value"), meta
    yield "META_DATA_EXPORT", ("name", "value"), meta
    yield from _devices(session, parts, tuple(processes))


def domain_sheet(parts: Sequence[Part]) -> Sheet:
    """Return the rows that name the domain of the sync ranges, one for each process; nsys joins it within one."""
    first_threads = {part.pid: part.global_tids[0] for part in reversed(parts)}
    rows: list[Row] = [
        (number, 1, names.DOMAIN_CREATE, thread, names.SYNC_DOMAIN_NAME, names.SYNC_DOMAIN)
        for number, thread in enumerate(first_threads.values(), 1)
    ]
    # nsys takes the name of a domain from `text` alone.
    return "NVTX_EVENTS", ("eventId", "start", "eventType", "globalTid", "text", "domainId"), rows


def _process(session: Session, part: Part) -> str:
    return "python" if session.recorder is Recorder.SYNCWATCH else part.recording.variant


def _threads(parts: Sequence[Part], strings: Strings) -> Iterator[Row]:
    named = {tid: name for part in parts for tid, name in zip(part.global_tids, part.recording.threads, strict=False)}
    yield from ((strings.id_of(name), 0, tid) for tid, name in named.items())


def _devices(session: Session, parts: Sequence[Part], pids: Sequence[int]) -> Iterator[Sheet]:
    used = {(part.pid, device, stream) for part in parts for device, stream in _streams(part)}
    null = 0 if session.device is DeviceKind.VIRTUAL else _TORCH_STREAM
    devices = sorted({device for _, device, _ in used} | {0})
    name = _gpu_name(session)
    yield (
        "TARGET_INFO_GPU",
        ("vmId", "id", "name", "cuDevice"),
        [(names.GLOBAL_VM, each, name, each) for each in devices],
    )
    owned = [(pid, device) for pid in pids for device in devices]
    yield "TARGET_INFO_CUDA_DEVICE", ("gpuId", "cudaId", "pid"), [(device, device, pid) for pid, device in owned]
    nulls: list[Row] = [(null, 0, names.VM_ID, pid, device, context_of(device)) for pid, device in owned]
    yield "TARGET_INFO_CUDA_NULL_STREAM", _NULL_STREAM, nulls
    contexts = ("nullStreamId", *_NULL_STREAM[1:], "parentContextId", "isGreenContext")
    yield "TARGET_INFO_CUDA_CONTEXT_INFO", contexts, [(*row, 0, 0) for row in nulls]
    streams = sorted(used | {(pid, device, null) for pid, device in owned})
    flags = {null: names.NULL_STREAM_FLAG}
    rows: list[Row] = [
        (stream, 0, names.VM_ID, pid, context_of(device), 0, flags.get(stream, names.OTHER_STREAM_FLAG))
        for pid, device, stream in streams
    ]
    yield "TARGET_INFO_CUDA_STREAM", _STREAM, rows


def _streams(part: Part) -> set[tuple[int, int]]:
    recording = part.recording
    events: tuple[KernelEvent | CopyEvent | SyncEvent, ...] = (
        *(recording.kernels or ()),
        *(recording.copies or ()),
        *recording.syncs,
    )
    return {(each.device, each.stream) for each in events if each.stream is not None}


def _gpu_name(session: Session) -> str:
    name = session.environment.gpu or "GPU"
    if session.device is not DeviceKind.VIRTUAL:
        return name
    return f"{name.removesuffix(' (virtual)')} (virtual, modelled)"
