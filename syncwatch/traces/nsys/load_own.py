"""Reads a file of nsys' tables that syncwatch wrote back into its session; `dump` tells how its events lie there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from syncwatch.model.events import CopyEvent, Direction, KernelEvent, RangeEvent, SyncEvent
from syncwatch.model.session import SESSION_SCHEMA, Recording, Session, faults_of
from syncwatch.traces.files import refusing_damage
from syncwatch.traces.nsys import details, schema
from syncwatch.traces.nsys.details import COUNT_KEY, SESSION_KEY, RecordingFacts, count_events, recording_key
from syncwatch.traces.nsys.read_calls import known_stream
from syncwatch.traces.nsys.read_file import KERNEL, MEMCPY, MEMSET, NVTX, RUNTIME, SYNCHRONIZATION, NsysFile

OWN_TABLE = "SYNCWATCH_SESSION"

_DIRECTIONS = {number: direction for direction, number in schema.COPY_KINDS.items()}
_MEMORIES = {number: memory.value for memory, number in schema.MEMORY_KINDS.items() if memory is not None}


def session_of(file: NsysFile, path: Path) -> Session:
    """Return the session that was exported to `file`.

    Raises:
        SessionError: if the export was damaged or is of another version.
    """
    with refusing_damage(path):
        session = _session(file)
        fault = next(faults_of(session), None)
        if fault is not None:
            raise ValueError(fault)
        return session


def _session(file: NsysFile) -> Session:
    facts = dict(file.rows(f"SELECT key, CAST(value AS TEXT) FROM {OWN_TABLE}").fetchall())
    session = msgspec.json.decode(facts[SESSION_KEY], type=Session)
    if session.schema != SESSION_SCHEMA:
        raise ValueError(f"its schema is {session.schema!r}, this version reads {SESSION_SCHEMA!r}")
    _index(file)
    texts = {
        column: file.texts(table, column, longest=None)
        for table, column in ((RUNTIME, "nameId"), (KERNEL, "demangledName"), (NVTX, "textId"))
    }
    recordings: list[Recording] = []
    for number in range(msgspec.json.decode(facts[COUNT_KEY], type=int)):
        own = msgspec.json.decode(facts[recording_key(number)], type=RecordingFacts)
        threads = {thread: index for index, thread in enumerate(own.global_tids)}
        recordings.append(_Reader(file, number, own, threads, texts).recording())
    return replace(session, recordings=tuple(recordings))


def _index(file: NsysFile) -> None:
    """Let events find their calls and waits, by correlation alone, which is unique in a file of ours."""
    call = 'correlation INTEGER PRIMARY KEY, thread INTEGER, name INTEGER, start INTEGER, "end" INTEGER'
    file.rows(f"CREATE TEMP TABLE own_call ({call})")
    file.rows(
        f'INSERT OR IGNORE INTO own_call SELECT correlationId, globalTid, nameId, start, "end" FROM {RUNTIME} '
        "WHERE correlationId IS NOT NULL"
    )
    file.rows("CREATE TEMP TABLE own_wait (correlation INTEGER PRIMARY KEY, stream INTEGER, device INTEGER)")
    file.rows(
        f"INSERT OR IGNORE INTO own_wait SELECT correlationId, streamId, deviceId FROM {SYNCHRONIZATION} "
        "WHERE correlationId IS NOT NULL"
    )


@dataclass(frozen=True, slots=True)
class _Reader:
    """Puts the events of one recording together again, in their order."""

    file: NsysFile
    number: int
    own: RecordingFacts
    threads: Mapping[int, int]
    """Thread of the recording by `globalTid`."""
    texts: Mapping[str, Mapping[int, str]]
    """Names by the column that points at them."""

    def recording(self) -> Recording:
        """Return the whole recording."""
        bare = self.own.recording
        found = replace(
            bare,
            syncs=tuple(self._syncs()),
            copies=None if bare.copies is None else tuple(self._copies()),
            kernels=None if bare.kernels is None else tuple(self._kernels()),
            ranges=tuple(self._ranges()),
        )
        if count_events(found) != self.own.events:
            raise ValueError("some of its rows are missing")
        return found

    def _syncs(self) -> Iterator[SyncEvent]:
        joins = f"LEFT JOIN {NVTX} n ON n.eventId = e.eventId LEFT JOIN own_wait w ON w.correlation = e.correlationId"
        columns = 'n.start, n."end", n.globalTid, w.stream, w.device'
        for event, said, called, *row in self._rows((details.SYNC,), columns, joins):
            fields: dict[str, Any] = {}
            if event is not None:
                start, end, thread, stream, device = row
                fields = {**self._span(start, end), "thread": self.threads[thread], "stream": known_stream(stream)}
                fields |= {"device": device or 0, "api": self.texts["nameId"][called[2]]}
            yield msgspec.convert(fields | said, SyncEvent)

    def _copies(self) -> Iterator[CopyEvent]:
        joins = f"LEFT JOIN {MEMCPY} m ON m.rowid = e.eventId"
        columns = 'm.start, m."end", m.streamId, m.deviceId, m.bytes, m.copyKind, m.srcKind, m.dstKind'
        for event, said, called, *row in self._rows((details.COPY,), columns, joins):
            fields: dict[str, Any] = {}
            if event is not None:
                start, end, stream, device, size, kind, source, target = row
                direction = _DIRECTIONS[kind]
                memory = _MEMORIES.get(target if direction is Direction.D2H else source)
                call = self._call(called)
                fields = {**self._span(start, end), "stream": known_stream(stream), "device": device, "bytes": size}
                fields |= {"direction": direction.value, "memory": memory, "call": call}
                if call is not None:
                    fields["thread"] = call["thread"]
            yield msgspec.convert(fields | said, CopyEvent)

    def _kernels(self) -> Iterator[KernelEvent]:
        joins = (
            f"LEFT JOIN {KERNEL} k ON e.kind = '{details.KERNEL}' AND k.rowid = e.eventId "
            f"LEFT JOIN {MEMSET} m ON e.kind = '{details.MEMSET}' AND m.rowid = e.eventId"
        )
        both = ("start", '"end"', "streamId", "deviceId")
        columns = ", ".join((*(f"coalesce(k.{name}, m.{name})" for name in both), "k.demangledName", "m.bytes"))
        for _, said, called, *row in self._rows((details.KERNEL, details.MEMSET), columns, joins):
            start, end, stream, device, name, memset_bytes = row
            fields = {**self._span(start, end), "stream": stream, "device": device, "memset_bytes": memset_bytes}
            fields |= {"name": self.texts["demangledName"].get(name), "call": self._call(called)}
            yield msgspec.convert(fields | said, KernelEvent)

    def _ranges(self) -> Iterator[RangeEvent]:
        joins = f"LEFT JOIN {NVTX} n ON n.eventId = e.eventId"
        columns = 'n.start, n."end", n.globalTid, n.textId'
        for _, _, _, start, end, thread, text in self._rows((details.RANGE,), columns, joins):
            span = self._span(start, end)
            yield RangeEvent(self.threads[thread], self.texts["textId"][text], span["start_ns"], span["end_ns"])

    def _rows(self, kinds: Sequence[str], columns: str, joins: str) -> Iterator[tuple[Any, ...]]:
        """Yield row of the event, its details, its call (correlation, thread, name, start, end), and `columns`."""
        rows = self.file.rows(
            'SELECT e.eventId, CAST(e.details AS TEXT), c.correlation, c.thread, c.name, c.start, c."end", '
            f"{columns} FROM SYNCWATCH_EVENTS e LEFT JOIN own_call c ON c.correlation = e.correlationId {joins} "
            f"WHERE e.recording = ? AND e.kind IN ({', '.join(repr(kind) for kind in kinds)}) ORDER BY e.rowid",
            self.number,
        )
        for event, said, *row in rows:
            yield event, {} if said is None else msgspec.json.decode(said, type=dict[str, Any]), row[:5], *row[5:]

    def _span(self, start: int, end: int) -> dict[str, int]:
        return {"start_ns": start - self.own.shift_ns, "end_ns": end - self.own.shift_ns}

    def _call(self, called: Sequence[int | None]) -> dict[str, Any] | None:
        correlation, thread, name, start, end = called
        if correlation is None or thread is None or name is None or start is None or end is None:
            return None
        span = self._span(start, end)
        length = self.own.call_lengths_ns.get(correlation)
        if length is not None:
            span["end_ns"] = span["start_ns"] + length
        return {"thread": self.threads[thread], "name": self.texts["nameId"][name], **span}
