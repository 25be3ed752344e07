"""Writes small exports of nsys, with the tables and columns of one of its versions."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

VERSIONS = (2022, 2024, 2026)
PID, TID = 4242, 4243
US = 1_000

_SPAN = ("start", "end")
_WORK = (*_SPAN, "deviceId", "contextId", "streamId", "correlationId", "globalPid")
_TABLES: dict[str, tuple[str, ...]] = {
    "StringIds": ("id", "value"),
    "ThreadNames": ("nameId", "priority", "globalTid"),
    "PROCESSES": ("globalPid", "pid", "name"),
    "TARGET_INFO_GPU": ("vmId", "id", "name", "cuDevice"),
    "NVTX_EVENTS": (*_SPAN, "eventType", "text", "textId", "globalTid", "endGlobalTid", "domainId"),
    "CUPTI_ACTIVITY_KIND_RUNTIME": (*_SPAN, "eventClass", "globalTid", "correlationId", "nameId", "returnValue"),
    "CUPTI_ACTIVITY_KIND_KERNEL": (*_WORK, "demangledName", "shortName", "graphNodeId"),
    "CUPTI_ACTIVITY_KIND_MEMCPY": (*_WORK, "bytes", "copyKind", "srcKind", "dstKind"),
    "CUPTI_ACTIVITY_KIND_MEMSET": (*_WORK, "bytes", "memKind"),
    "CUPTI_ACTIVITY_KIND_SYNCHRONIZATION": (*_WORK, "syncType", "eventId"),
}
_LATER = {
    "ENUM_CUDA_MEM_KIND": ("id", "name", "label"),
    "META_DATA_EXPORT": ("name", "value"),
    "META_DATA_CAPTURE": ("name", "value"),
    "CUPTI_ACTIVITY_KIND_GRAPH_TRACE": (*_WORK, "graphId", "graphExecId"),
}
_NEW_COLUMNS = {
    "NVTX_EVENTS": ("binaryData", "eventId"),
    "CUPTI_ACTIVITY_KIND_SYNCHRONIZATION": ("deprecatedSyncType", "eventSyncId"),
    "CUPTI_ACTIVITY_KIND_MEMCPY": ("copyCount",),
}


def global_id(pid: int, tid: int = 0, machine: int = 1) -> int:
    """Return a globalTid, or a globalPid where there is no thread."""
    return machine << 48 | pid << 24 | tid


class NsysExport:
    """Writes rows; a column that the version does not have is left out.

    Args:
        path: the file to write.
        version: the year of the nsys that is imitated.
        without: tables that are left out, as nsys leaves out empty ones.
    """

    def __init__(self, path: Path, version: int = 2024, without: Sequence[str] = ()) -> None:
        self.path = path
        self.database = sqlite3.connect(path)
        self.database.execute("PRAGMA synchronous = OFF")
        tables = dict(_TABLES) | ({"EXPORT_META_DATA": ("name", "value")} if version < 2023 else _LATER)
        self._columns: dict[str, tuple[str, ...]] = {}
        for table, columns in tables.items():
            if table not in without:
                more = _NEW_COLUMNS.get(table, ()) if version >= 2026 else ()
                green = ("greenContextId",) if version >= 2023 and "contextId" in columns else ()
                self._columns[table] = (*columns, *more, *green)
                text = ("value", "text", "name", "label", "binaryData")
                declared = (f'"{name}" {"TEXT" if name in text else "INTEGER"}' for name in self._columns[table])
                self.database.execute(f"CREATE TABLE {table} ({', '.join(declared)})")
        self._strings: dict[str, int] = {}
        self._correlation = 100

    def __enter__(self) -> NsysExport:
        return self

    def __exit__(self, *_: object) -> None:
        self.database.commit()
        self.database.close()

    def row(self, table: str, **values: Any) -> None:
        """Write one row."""
        known = {name: value for name, value in values.items() if name in self._columns[table]}
        names = ", ".join(f'"{name}"' for name in known)
        places = ", ".join("?" * len(known))
        self.database.execute(f"INSERT INTO {table} ({names}) VALUES ({places})", tuple(known.values()))

    def text(self, value: str | bytes) -> int:
        """Return the number that StringIds, nsys' table of texts, has for `value`."""
        key = value if isinstance(value, str) else repr(value)
        if key not in self._strings:
            self._strings[key] = len(self._strings) + 1
            self.database.execute("INSERT INTO StringIds VALUES (?, CAST(? AS TEXT))", (self._strings[key], value))
        return self._strings[key]

    def call(
        self, name: str, span: tuple[int, int], *, pid: int = PID, tid: int = TID, correlation: int | None = None
    ) -> int:
        """Write a call of the runtime and return its correlation id."""
        self._correlation += 1
        number = self._correlation if correlation is None else correlation
        thread = global_id(pid, tid)
        values = {"eventClass": 0, "correlationId": number, "nameId": self.text(name), "returnValue": 0}
        self.row("CUPTI_ACTIVITY_KIND_RUNTIME", start=span[0], end=span[1], globalTid=thread, **values)
        return number

    def kernel(
        self, span: tuple[int, int], call: int | None = None, name: str = "void gemm<float>()", **where: int
    ) -> None:
        """Write a kernel."""
        text = self.text(name)
        self._work("KERNEL", span, call, where, demangledName=text, shortName=text)

    def copy(
        self, span: tuple[int, int], call: int | None, kind: int, ends: tuple[int, int], size: int, **where: int
    ) -> None:
        """Write a copy: `kind` 1 is H2D, 2 D2H; `ends` are source and target, 0 pageable, 1 pinned, 2 the device's."""
        self._work("MEMCPY", span, call, where, bytes=size, copyKind=kind, srcKind=ends[0], dstKind=ends[1])

    def memset(self, span: tuple[int, int], call: int | None, size: int, **where: int) -> None:
        """Write a memset of device memory."""
        self._work("MEMSET", span, call, where, bytes=size, memKind=2)

    def sync(self, span: tuple[int, int], call: int | None, kind: int, **where: int) -> None:
        """Write CUPTI's record of a wait for: `kind` 1 an event, 2 an event, by a stream, 3 a stream, 4 a context."""
        self._work("SYNCHRONIZATION", span, call, where, syncType=kind, eventId=0xFFFFFFFF)

    def range(
        self,
        name: str | int,
        span: tuple[int, int | None],
        *,
        pid: int = PID,
        tid: int = TID,
        kind: int = 59,
        domain: int = 0,
    ) -> None:
        """Write an NVTX range; a name that is a number is one of StringIds."""
        named: dict[str, Any] = {"textId": name} if isinstance(name, int) else {"text": name}
        thread = global_id(pid, tid)
        values = {"eventType": kind, "globalTid": thread, "domainId": domain, **named}
        self.row("NVTX_EVENTS", start=span[0], end=span[1], **values)

    def step_with_a_read(self, begin: int) -> None:
        """Write a kernel, a read of 8 bytes after it, and the wait for both, which take 95 us."""
        launch = self.call("cudaLaunchKernel_v7000", (begin, begin + 4 * US))
        self.kernel((begin + 10 * US, begin + 90 * US), launch)
        copy = self.call("cudaMemcpyAsync_v3020", (begin + 5 * US, begin + 92 * US))
        self.copy((begin + 90 * US, begin + 91 * US), copy, 2, (2, 0), 8)
        wait = self.call("cudaStreamSynchronize_v3020", (begin + 93 * US, begin + 95 * US))
        self.sync((begin + 93 * US, begin + 95 * US), wait, 3)

    def _work(self, table: str, span: tuple[int, int], call: int | None, where: dict[str, int], **what: int) -> None:
        place = {"deviceId": where.get("device", 0), "streamId": where.get("stream", 7), "contextId": 1}
        process = global_id(where.get("pid", PID))
        name = f"CUPTI_ACTIVITY_KIND_{table}"
        self.row(name, start=span[0], end=span[1], correlationId=call, globalPid=process, **place, **what)
