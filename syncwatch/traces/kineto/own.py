"""Reads an export of ours back: the events come from its rows, the rest from a key of our own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from syncwatch.model.events import CopyEvent, KernelEvent, RangeEvent, Step, SyncEvent
from syncwatch.model.session import SESSION_SCHEMA, Recording, Session, faults_of
from syncwatch.traces.files import refusing_damage
from syncwatch.traces.kineto import notation
from syncwatch.traces.kineto.notation import nanoseconds
from syncwatch.traces.kineto.read_file import Row, Trace

_Event = TypeVar("_Event")
_UNKNOWN = dict.fromkeys(("step", "op", "stack", "stream", "memory", "blocking"))
"""Fields that the rows leave out where nothing is known."""


class _Rest(msgspec.Struct):
    """What the rows do not hold of one recording."""

    origin_ns: int
    rows: int
    """How many rows hold an event, so that a file from which some were cut is known by it."""
    untimed_syncs: list[tuple[int, SyncEvent]]
    untimed_copies: list[tuple[int, CopyEvent]]


class _Own(msgspec.Struct):
    """What stands under the key of ours."""

    schema: str
    session: Session
    recordings: list[_Rest]


def session_of(trace: Trace, path: Path) -> Session:
    """Return the session that `dump` wrote.

    Args:
        trace: the file, which has the key `notation.OWN_KEY`.
        path: its name, for what is said of it.

    Raises:
        SessionError: if the export was damaged or is of another version.
    """
    with refusing_damage(path):
        return _session(trace.keys[notation.OWN_KEY], trace.rows())


def _session(own: msgspec.Raw, rows: Iterable[Row]) -> Session:
    known = msgspec.json.decode(own, type=_Own)
    if (known.schema, known.session.schema) != (notation.OWN_SCHEMA, SESSION_SCHEMA):
        raise ValueError(f"its schema is {known.schema!r}, this version reads {notation.OWN_SCHEMA!r}")
    read = [_Read(facts, rest) for facts, rest in zip(known.session.recordings, known.recordings, strict=True)]
    variants: dict[object, _Read] = {}
    for row in rows:
        if row.ph == "M" and row.name == "process_name":
            variants[row.pid] = read[msgspec.json.decode(row.args, type=_Process).recording]
        elif row.pid in variants:
            variants[row.pid].take(row)
    session = replace(known.session, recordings=tuple(each.recording() for each in read))
    fault = next(faults_of(session), None)
    if fault is not None:
        raise ValueError(fault)
    return session


class _Process(msgspec.Struct):
    recording: int


class _Thread(msgspec.Struct):
    name: str
    thread: int | None = None
    """None for a track that is no thread."""
    recorded: bool = False


class _Work(msgspec.Struct):
    correlation: int | None = None


@dataclass(slots=True)
class _Read:
    """One recording, as far as its rows were read."""

    facts: Recording
    rest: _Rest
    threads: list[str] = field(default_factory=list)
    tracks: dict[object, int] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    ranges: list[RangeEvent] = field(default_factory=list)
    kernels: list[KernelEvent] = field(default_factory=list)
    copies: list[CopyEvent] = field(default_factory=list)
    syncs: list[SyncEvent] = field(default_factory=list)
    calls: dict[int, dict[str, Any]] = field(default_factory=dict)

    def take(self, row: Row) -> None:
        """Note one row; what is there for the eye alone is passed over."""
        if row.ph == "M" and row.name == "thread_name":
            self._thread(row)
        elif row.ph == "X":
            self._slice(row)

    def recording(self) -> Recording:
        """Return the whole recording."""
        others = len(self.steps) + len(self.ranges)
        if others + len(self.kernels) + len(self.copies) + len(self.syncs) != self.rest.rows:
            raise ValueError("some of its rows are missing")
        return replace(
            self.facts,
            threads=tuple(self.threads),
            steps=tuple(self.steps),
            ranges=tuple(self.ranges),
            syncs=_in_order(self.syncs, self.rest.untimed_syncs),
            copies=None if self.facts.copies is None else _in_order(self.copies, self.rest.untimed_copies),
            kernels=None if self.facts.kernels is None else tuple(self.kernels),
        )

    def _thread(self, row: Row) -> None:
        about = msgspec.json.decode(row.args, type=_Thread)
        if about.thread is not None:
            self.tracks[row.tid] = about.thread
        if about.recorded:
            self.threads.append(about.name)

    def _slice(self, row: Row) -> None:
        if row.cat == notation.SYNC:
            self.syncs.append(self._event(row, SyncEvent))
        elif row.cat in (notation.KERNEL, notation.MEMSET):
            self.kernels.append(self._event(row, KernelEvent))
        elif row.cat == notation.COPY:
            self.copies.append(self._event(row, CopyEvent))
        elif row.cat == notation.RANGE:
            start, end = self._span(row)
            self.ranges.append(RangeEvent(self.tracks[row.tid], row.name, start, end))
        elif row.cat == notation.STEP:
            self.steps.append(self._step(row))
        elif row.cat in (notation.CALL, notation.DRIVER_CALL):
            self._call(row)

    def _event(self, row: Row, kind: type[_Event]) -> _Event:
        """Return the event of a row; its fields are the arguments, its name and its times."""
        start, end = self._span(row)
        about = msgspec.json.decode(row.args, type=dict[str, Any])
        correlation = about.get("correlation")
        call = None if correlation is None else self.calls[correlation]
        if kind is KernelEvent:
            about["memset_bytes"] = about.get("bytes")
        fields = _UNKNOWN | about | {"name": row.name, "start_ns": start, "end_ns": end, "call": call}
        return msgspec.convert(fields, kind)

    def _step(self, row: Row) -> Step:
        start, end = self._span(row)
        about = msgspec.json.decode(row.args, type=dict[str, Any])
        return msgspec.convert({"index": about.get("step"), "start_ns": start, "end_ns": end} | about, Step)

    def _call(self, row: Row) -> None:
        number = msgspec.json.decode(row.args, type=_Work).correlation
        if number is not None:
            start, end = self._span(row)
            self.calls[number] = {
                "thread": self.tracks[row.tid],
                "name": row.name,
                "start_ns": start,
                "end_ns": end,
            }

    def _span(self, row: Row) -> tuple[int, int]:
        start, length = nanoseconds(row.ts), nanoseconds(row.dur)
        if start is None or length is None:
            raise ValueError(f"a row called {row.name[:40]!r} has no time")
        start += self.rest.origin_ns
        return start, start + length


def _in_order(timed: list[_Event], untimed: list[tuple[int, _Event]]) -> tuple[_Event, ...]:
    """Return all events, those without a time at their places."""
    found = timed
    for place, event in sorted(untimed, key=lambda each: each[0]):
        found.insert(place, event)
    return tuple(found)
