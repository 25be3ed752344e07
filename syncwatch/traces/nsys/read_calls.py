"""Reads what the host did from an nsys file: calls of the CUDA runtime, which of them wait, and NVTX ranges."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from syncwatch.model.events import Call, RangeEvent, SyncKind
from syncwatch.model.runtime import call_name, wait_of
from syncwatch.traces.nsys.read_file import (
    GRAPH,
    KERNEL,
    LONGEST_NAME,
    MEMCPY,
    MEMSET,
    NVTX,
    RUNTIME,
    SYNCHRONIZATION,
    NsysFile,
)
from syncwatch.traces.nsys.schema import NO_STREAM
from syncwatch.traces.process import WaitingCall

PROCESS_BITS = 24
"""`globalTid` is machine, process and thread, the last two of 24 bits each; `globalPid` has 0 for the thread."""
_NUMBER = (1 << PROCESS_BITS) - 1

_SYNC_KINDS = {
    "EVENT_SYNCHRONIZE": SyncKind.EVENT,
    "STREAM_SYNCHRONIZE": SyncKind.STREAM,
    "CONTEXT_SYNCHRONIZE": SyncKind.DEVICE,
}
"""Not STREAM_WAIT_EVENT, which lets a stream wait and not the host."""
_SYNC_NUMBERS = {1: SyncKind.EVENT, 3: SyncKind.STREAM, 4: SyncKind.DEVICE}
"""CUPTI's CUpti_ActivitySynchronizationType, where the file does not name them."""


def process_number(key: int) -> int:
    """Return the pid that the system gave, of a process as the file numbers it, machine included."""
    return key & _NUMBER


@dataclass(slots=True)
class TraceThreads:
    """Numbers the threads of one process, in the order in which they are met."""

    names: Mapping[int, str]
    """What the file calls each thread, by its `globalTid`."""
    numbers: dict[int | None, int] = field(default_factory=dict)

    def number(self, thread: int | None) -> int:
        """Return the number of a `globalTid`; None stands for threads that are not known."""
        return self.numbers.setdefault(thread, len(self.numbers))

    def called(self) -> tuple[str, ...]:
        """Return what each thread that was met is called."""
        return tuple(self._name(thread) for thread in self.numbers)

    def _name(self, thread: int | None) -> str:
        if thread is None:
            return "unknown thread"
        name, number = self.names.get(thread, ""), thread & _NUMBER
        return f"{name} ({number})" if name else f"thread {number}"


def thread_names(file: NsysFile) -> dict[int, str]:
    """Return the name of each thread that made a call of the runtime or a range, by its `globalTid`."""
    if not file.has("ThreadNames", "nameId", "globalTid"):
        return {}
    texts = file.texts("ThreadNames", "nameId")
    priority = file.columns("ThreadNames", ("priority",))
    rows = file.rows(f"SELECT globalTid, nameId FROM ThreadNames ORDER BY {priority}, rowid")
    return {thread: texts.get(name, "") for thread, name in rows}


def index_calls(file: NsysFile) -> None:
    """Let work on the device find its call: `temp.host_call`, one for each process and correlation.

    The first call of a correlation is the outermost, as the runtime's around the driver's.
    """
    file.rows(
        "CREATE TEMP TABLE host_call (process INTEGER, correlation INTEGER, thread INTEGER, name INTEGER, "
        'start INTEGER, "end" INTEGER, PRIMARY KEY (process, correlation)) WITHOUT ROWID'
    )
    file.rows(
        "CREATE TEMP TABLE waited (process INTEGER, correlation INTEGER, type INTEGER, device INTEGER, "
        'stream INTEGER, start INTEGER, "end" INTEGER, PRIMARY KEY (process, correlation)) WITHOUT ROWID'
    )
    if file.has(RUNTIME):
        file.require_sound(RUNTIME, ("start", "end", "nameId"), ("globalTid", "correlationId"))
        thread, correlation = (file.columns(RUNTIME, (name,)) for name in ("globalTid", "correlationId"))
        file.rows(
            f"INSERT OR IGNORE INTO host_call SELECT coalesce({thread}, 0) >> {PROCESS_BITS}, {correlation}, "
            f'coalesce({thread}, 0), nameId, start, "end" FROM {RUNTIME} WHERE {correlation} IS NOT NULL '
            "ORDER BY 1, 2, start"
        )
    if file.has(SYNCHRONIZATION):
        optional = ("globalPid", "correlationId", "deviceId", "streamId")
        file.require_sound(SYNCHRONIZATION, ("start", "end", "syncType"), optional)
        process, correlation, device, stream = (file.columns(SYNCHRONIZATION, (name,)) for name in optional)
        file.rows(
            f"INSERT OR IGNORE INTO waited SELECT coalesce({process}, 0) >> {PROCESS_BITS}, {correlation}, syncType, "
            f'{device}, {stream}, start, "end" FROM {SYNCHRONIZATION} WHERE {correlation} IS NOT NULL '
            "ORDER BY 1, 2, start"
        )


def waiting_calls(
    file: NsysFile, names: Mapping[int, str], threads: Mapping[int, TraceThreads], devices: Mapping[int, int]
) -> dict[int, list[WaitingCall]]:
    """Return the calls that wait or allocate, by process and in order.

    Args:
        file: with `index_calls` done.
        names: what the calls are called, by `nameId`.
        threads: of each process.
        devices: the GPU that a process works on, for waits that the file gives no GPU for.
    """
    found: dict[int, list[WaitingCall]] = defaultdict(list)
    kinds = {number: kind for number, name in names.items() if (kind := wait_of(name)) is not None}
    if kinds:
        thread, correlation = file.columns(RUNTIME, ("globalTid",), "r"), file.columns(RUNTIME, ("correlationId",), "r")
        rows = file.rows(
            f'SELECT coalesce({thread}, 0), r.nameId, r.start, r."end", w.device, w.stream FROM {RUNTIME} r '
            f"LEFT JOIN waited w ON w.process = coalesce({thread}, 0) >> {PROCESS_BITS} "
            f"AND w.correlation = {correlation} WHERE r.nameId IN ({', '.join(map(str, kinds))}) ORDER BY r.start"
        )
        for owner, name, start, end, device, stream in rows:
            process = owner >> PROCESS_BITS
            call = Call(threads[process].number(owner), names[name], start, end)
            gpu = devices.get(process, 0) if device is None else device
            found[process].append(WaitingCall(call, kinds[name], known_stream(stream), gpu))
    for process, wait in _without_call(file, threads, devices):
        found[process].append(wait)
    for waits in found.values():
        waits.sort(key=lambda wait: wait.call.start_ns)
    return found


def _without_call(
    file: NsysFile, threads: Mapping[int, TraceThreads], devices: Mapping[int, int]
) -> list[tuple[int, WaitingCall]]:
    """Return waits that CUPTI saw and whose call was not recorded."""
    kinds = dict(_SYNC_NUMBERS)
    for number, name in file.enum("ENUM_CUPTI_SYNC_TYPE").items():
        kinds.pop(number, None)
        kinds.update((number, kind) for ending, kind in _SYNC_KINDS.items() if name.endswith(ending))
    rows = file.rows(
        'SELECT w.process, w.type, w.device, w.stream, w.start, w."end" FROM waited w LEFT JOIN host_call c '
        "ON c.process = w.process AND c.correlation = w.correlation WHERE c.process IS NULL"
    )
    found = []
    for process, type_number, device, stream, start, end in rows:
        kind = kinds.get(type_number)
        if kind is not None:
            call = Call(threads[process].number(None), kind.api(), start, end)
            gpu = devices.get(process, 0) if device is None else device
            found.append((process, WaitingCall(call, kind, known_stream(stream), gpu)))
    return found


@dataclass(frozen=True, slots=True)
class CallCounts:
    """How many calls the file holds of each process."""

    every: Mapping[int, int]
    unnamed: Mapping[int, int]
    """Those whose name the file does not have: each may be a wait."""
    waited: frozenset[int]
    """The processes of which CUPTI saw waits for itself."""


def call_counts(file: NsysFile) -> CallCounts:
    """Return how many calls there are; after `index_calls`."""
    every: dict[int, int] = {}
    unnamed: dict[int, int] = {}
    if file.has(RUNTIME):
        process = f"coalesce({file.columns(RUNTIME, ('globalTid',))}, 0) >> {PROCESS_BITS}"
        every = dict(file.rows(f"SELECT {process}, count(*) FROM {RUNTIME} GROUP BY 1").fetchall())
        known = "SELECT id FROM StringIds WHERE length(CAST(value AS TEXT)) > 0"
        where = f"WHERE nameId NOT IN ({known})" if file.has("StringIds", "id", "value") else ""
        unnamed = dict(file.rows(f"SELECT {process}, count(*) FROM {RUNTIME} {where} GROUP BY 1").fetchall())
    waited = frozenset(key for (key,) in file.rows("SELECT DISTINCT process FROM waited"))
    return CallCounts(every, unnamed, waited)


def call_names(file: NsysFile) -> dict[int, str]:
    """Return what the calls of the runtime are called, by `nameId`."""
    return {number: call_name(text) for number, text in file.texts(RUNTIME, "nameId").items()}


def known_stream(stream: int | None) -> int | None:
    """Return the stream, or None where CUPTI writes that there is none."""
    return None if stream is None or stream in (NO_STREAM, -1) else stream


_PUSH_POP, _START_END, _DOMAIN = 59, 60, 75
"""Of ENUM_NSYS_EVENT_TYPE, the same from 2022 to 2026."""
_COLUMNS = ("text", "textId", "domainId")


def ranges_of(file: NsysFile, threads: Mapping[int, TraceThreads]) -> dict[int, list[RangeEvent]]:
    """Return the ranges of each process by their start, named as nsys' reports show them: `domain:name`.

    A range that had not ended lasts to the end of the trace. One without a name, which only carried a number, is left
    out.
    """
    found: dict[int, list[RangeEvent]] = defaultdict(list)
    if not file.has(NVTX):
        return found
    are_read = f"eventType IN ({_PUSH_POP}, {_START_END}, {_DOMAIN})"
    file.require_sound(NVTX, ("start", "eventType"), ("end", "globalTid", "textId", "domainId"), are_read)
    texts = file.texts(NVTX, "textId")
    domains = _domains(file, texts)
    last: int | None = None
    for owner, start, end, text, number, domain in _events(file, f"{_PUSH_POP}, {_START_END}"):
        name = texts.get(number or 0, "") if text is None else text
        if not name:
            continue
        if end is None:
            last = _end_of(file) if last is None else last
            end = max(start, last)
        process = owner >> PROCESS_BITS
        prefix = domains.get((process, domain))
        found[process].append(
            RangeEvent(threads[process].number(owner), f"{prefix}:{name}" if prefix else name, start, end)
        )
    return found


def _events(file: NsysFile, types: str) -> list[tuple[int, int, int | None, str | None, int | None, int | None]]:
    thread, end = file.columns(NVTX, ("globalTid",)), file.columns(NVTX, ("end",))
    text, number, domain = (file.columns(NVTX, (name,)) for name in _COLUMNS)
    query = (
        f"SELECT coalesce({thread}, 0), start, {end}, substr(CAST({text} AS TEXT), 1, {LONGEST_NAME}), "
        f"{number}, {domain} FROM {NVTX} WHERE eventType IN ({types}) ORDER BY start"
    )
    return file.rows(query).fetchall()


def _domains(file: NsysFile, texts: Mapping[int, str]) -> dict[tuple[int, int | None], str]:
    found: dict[tuple[int, int | None], str] = {}
    for owner, _, _, text, number, domain in _events(file, str(_DOMAIN)):
        if domain:
            found[owner >> PROCESS_BITS, domain] = text or texts.get(number or 0, "")
    return found


def _end_of(file: NsysFile) -> int:
    tables = [table for table in (RUNTIME, KERNEL, MEMCPY, MEMSET, GRAPH, NVTX) if file.has(table, "end")]
    return max(file.count(f'SELECT max("end") FROM {table} WHERE typeof("end") = \'integer\'') for table in tables)
