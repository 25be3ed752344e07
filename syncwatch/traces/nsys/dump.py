"""Writes a session as a file that `nsys stats` and `nsys analyze` read.

Everything with a time goes into nsys' own tables, moved by one shift for each recording (`layout`). Two tables of our
own, which nsys ignores, hold what its schema has no place for, so that `load` can make the session again:

SYNCWATCH_SESSION(key, value): JSON. `session` is the `Session` without its recordings, `count` how many they are;
`recording N` is the `RecordingFacts` of the N-th.

SYNCWATCH_EVENTS(recording, kind, eventId, correlationId, details): a row for every event of every recording, in the
order of the recording (by rowid). `details` is a JSON object of the fields that nsys' tables do not tell; a field in it
goes before what a table says. Where `eventId` is NULL the event has no time and `details` is all of it. Otherwise:

- `sync`: `eventId` is that of its range in NVTX_EVENTS (thread, start, end), `correlationId` that of its call in
  CUPTI_ACTIVITY_KIND_RUNTIME (api) and, for waits for a stream, an event or the device, of its one row in
  CUPTI_ACTIVITY_KIND_SYNCHRONIZATION (deviceId, streamId). The start of both can be later than that of the range: a
  blocking copy waits in two calls.
- `copy`, `kernel`, `memset`: `eventId` is the rowid in CUPTI_ACTIVITY_KIND_MEMCPY, _KERNEL (demangledName) or _MEMSET,
  `correlationId` that of `call`, NULL where it has none. The thread of a copy is that of its call.
- `range`: `eventId` in NVTX_EVENTS. Ranges that no row here names are no part of the session.

A streamId of 4294967295 is None. The call of a copy may be longer in the file than it was: see `call_lengths_ns`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from syncwatch.errors import SessionError, UsageError
from syncwatch.model.events import CopyEvent, KernelEvent, SyncEvent
from syncwatch.model.paths import replacing
from syncwatch.model.session import DeviceKind, RecordedBy, Session
from syncwatch.traces.layout import PlacedRecording, SyncLabel, lay_out
from syncwatch.traces.nsys import details, rows, schema
from syncwatch.traces.nsys.details import COUNT_KEY, SESSION_KEY, RecordingFacts, count_events, recording_key
from syncwatch.traces.nsys.rows import Calls, Part, Row, context_of
from syncwatch.traces.nsys.schema import SCHEMA_VERSION, TABLES, StringTable, json_of
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
        pid = _FIRST_PID if session.recorder is RecordedBy.SYNCWATCH else _FIRST_PID * (number + 1)
        # A recording without a thread still gets one, for its ranges.
        threads = recording.threads or ("MainThread",)
        keys = [(pid, name, threads[:index].count(name)) for index, name in enumerate(threads)]
        tids = tuple(known.setdefault(key, schema.global_tid(pid, pid + len(known))) for key in keys)
        found.append((pid, tids))
    return found


def sheets(session: Session, parts: Sequence[Part], end_ns: int, strings: StringTable) -> Iterator[Sheet]:
    """Yield what the file says of the machine and of itself; nothing of it names a user or a host."""
    processes = {part.pid: _process(session, part) for part in parts}
    yield (
        "PROCESSES",
        ("globalPid", "pid", "name"),
        [(schema.global_pid(pid), pid, processes[pid]) for pid in processes],
    )
    yield "ThreadNames", ("nameId", "priority", "globalTid"), list(_threads(parts, strings))
    yield (
        "ANALYSIS_DETAILS",
        ("globalVid", "duration", "startTime", "stopTime"),
        [(schema.GLOBAL_VM, end_ns, 0, end_ns)],
    )
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
        (number, 1, schema.DOMAIN_CREATE, thread, schema.SYNC_DOMAIN_NAME, schema.SYNC_DOMAIN)
        for number, thread in enumerate(first_threads.values(), 1)
    ]
    # nsys takes the name of a domain from `text` alone.
    return "NVTX_EVENTS", ("eventId", "start", "eventType", "globalTid", "text", "domainId"), rows


def _process(session: Session, part: Part) -> str:
    return "python" if session.recorder is RecordedBy.SYNCWATCH else part.recording.variant


def _threads(parts: Sequence[Part], strings: StringTable) -> Iterator[Row]:
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
        [(schema.GLOBAL_VM, each, name, each) for each in devices],
    )
    owned = [(pid, device) for pid in pids for device in devices]
    yield "TARGET_INFO_CUDA_DEVICE", ("gpuId", "cudaId", "pid"), [(device, device, pid) for pid, device in owned]
    nulls: list[Row] = [(null, 0, schema.VM_ID, pid, device, context_of(device)) for pid, device in owned]
    yield "TARGET_INFO_CUDA_NULL_STREAM", _NULL_STREAM, nulls
    contexts = ("nullStreamId", *_NULL_STREAM[1:], "parentContextId", "isGreenContext")
    yield "TARGET_INFO_CUDA_CONTEXT_INFO", contexts, [(*row, 0, 0) for row in nulls]
    streams = sorted(used | {(pid, device, null) for pid, device in owned})
    flags = {null: schema.NULL_STREAM_FLAG}
    rows: list[Row] = [
        (stream, 0, schema.VM_ID, pid, context_of(device), 0, flags.get(stream, schema.OTHER_STREAM_FLAG))
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


SUFFIX = ".sqlite"


def dump(session: Session, labels: Sequence[tuple[SyncLabel | None, ...]], path: Path) -> None:
    """Write `session` to `path` as nsys would export it, whole or not at all.

    Args:
        session: what was recorded; what has no time is in the file, and on no time line.
        labels: for each recording one label for each of its syncs.
        path: where to; ends in `.sqlite`, as nsys reads no other.

    Raises:
        UsageError: if the name ends otherwise, or the file cannot be written.
        SessionError: if a number of the session is larger than a database holds.
    """
    if path.suffix != SUFFIX:
        raise UsageError(f"nsys opens no {path.name}: the name has to end in {SUFFIX}, as {path.stem}{SUFFIX}.")
    try:
        with replacing(path) as beside, closing(sqlite3.connect(beside)) as database:
            # The file is new and nobody else knows it: no journal is needed until it has its name.
            database.execute("PRAGMA journal_mode=OFF")
            _fill(database, session, labels)
            database.commit()
    except OverflowError as error:
        raise SessionError(
            "The session has a number of more than 64 bits. Record it again with `syncwatch run`."
        ) from error
    except (sqlite3.Error, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"Cannot write {path}: {reason}. Give a file that you may write to.") from error


def _fill(database: sqlite3.Connection, session: Session, labels: Sequence[tuple[SyncLabel | None, ...]]) -> None:
    for table, declared in TABLES.items():
        database.execute(f"CREATE TABLE {table} ({declared})")
    for table, values in schema.ENUMS.items():
        _insert(database, table, ("id", "name", "label"), values)
    placed = lay_out(session)
    parts = list(_parts(session, placed, labels))
    strings = StringTable()
    domains = domain_sheet(parts)
    for sheet in (*sheets(session, parts, max((each.end_ns for each in placed), default=0), strings), domains):
        _insert(database, *sheet)
    numbers = details.Numbers(nvtx=len(domains[2]) + 1)
    facts = {SESSION_KEY: json_of(replace(session, recordings=())), COUNT_KEY: json_of(len(parts))}
    for number, part in enumerate(parts):
        _insert_part(database, part, strings, numbers)
        _insert(database, "SYNCWATCH_EVENTS", details.EVENT_COLUMNS, details.event_rows(part, number, numbers))
        numbers.nvtx += rows.count_unmarked(part)
        facts[recording_key(number)] = json_of(_facts(part))
    _insert(database, "SYNCWATCH_SESSION", ("key", "value"), facts.items())
    _insert(database, "StringIds", ("id", "value"), strings.rows())


def _parts(
    session: Session, placed: Sequence[PlacedRecording], labels: Sequence[tuple[SyncLabel | None, ...]]
) -> Iterator[Part]:
    correlation = 1
    for each, (pid, tids), known in zip(placed, thread_ids(session), labels, strict=True):
        calls = Calls(each.recording, correlation)
        correlation = calls.next_id
        yield Part(each, known, pid, tids, calls, is_variant=session.recorder is RecordedBy.SYNCWATCH)


def _insert_part(database: sqlite3.Connection, part: Part, strings: StringTable, numbers: details.Numbers) -> None:
    kind = "CUPTI_ACTIVITY_KIND_"
    _insert(database, "NVTX_EVENTS", rows.NVTX_COLUMNS, rows.nvtx_rows(part, strings, numbers.nvtx))
    _insert(database, f"{kind}RUNTIME", rows.RUNTIME_COLUMNS, rows.runtime_rows(part, strings))
    _insert(database, f"{kind}KERNEL", rows.KERNEL_COLUMNS, rows.kernel_rows(part, strings, numbers.kernel))
    _insert(database, f"{kind}MEMCPY", rows.MEMCPY_COLUMNS, rows.memcpy_rows(part, numbers.copy))
    _insert(database, f"{kind}MEMSET", rows.MEMSET_COLUMNS, rows.memset_rows(part, numbers.memset))
    _insert(database, f"{kind}SYNCHRONIZATION", rows.SYNC_COLUMNS, rows.sync_rows(part))


def _insert(
    database: sqlite3.Connection, table: str, columns: Sequence[str], values: Iterable[Sequence[object]]
) -> None:
    places = ", ".join("?" * len(columns))
    database.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})", values)


def _facts(part: Part) -> RecordingFacts:
    recording = part.recording
    bare = replace(
        recording,
        syncs=(),
        ranges=(),
        copies=None if recording.copies is None else (),
        kernels=None if recording.kernels is None else (),
    )
    lengths = part.calls.own_lengths_ns()
    return RecordingFacts(bare, part.placed.shift_ns, part.global_tids, lengths, count_events(recording))
