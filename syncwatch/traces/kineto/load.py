"""Reads a Chrome trace file into a session, whether it is an export of ours or a recording of torch.profiler."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from syncwatch.errors import NotMeasuredError, UsageError
from syncwatch.model.events import CopyEvent, KernelEvent, RangeEvent, Step, SyncEvent
from syncwatch.model.session import SESSION_SCHEMA, DeviceKind, RecordedBy, Recording, Session, faults_of
from syncwatch.traces.files import refusing_damage
from syncwatch.traces.kineto import notation
from syncwatch.traces.kineto.columns import CollectedRows
from syncwatch.traces.kineto.notation import OWN_KEY, nanoseconds
from syncwatch.traces.kineto.processes import processes_of
from syncwatch.traces.kineto.read_file import Row, Trace
from syncwatch.traces.process import TraceProcess
from syncwatch.traces.recording import environment_of, recording_of

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
    watch_ns: int = 0


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
        about = msgspec.json.decode(row.args, type=_Work)
        number = about.correlation
        if number is not None:
            start, end = self._span(row)
            self.calls[number] = {
                "thread": self.tracks[row.tid],
                "name": row.name,
                "start_ns": start,
                "end_ns": end,
                "watch_ns": about.watch_ns,
            }

    def _span(self, row: Row) -> tuple[int, int]:
        start, length = nanoseconds(row.ts), nanoseconds(row.dur)
        if start is None or length is None:
            raise ValueError(f"a row called {row.name[:40]!r} has no time")
        start += self.rest.origin_ns
        return start, start + length


def _in_order(timed: list[_Event], untimed: list[tuple[int, _Event]]) -> tuple[_Event, ...]:
    """Return all events, those without a time at their places.

    Raises:
        ValueError: if a place lies outside the list; also a number that a list's index cannot be.
    """
    found = timed
    for place, event in sorted(untimed, key=lambda each: each[0]):
        if not 0 <= place <= len(found):
            raise ValueError(f"an event has place {place} in a list of {len(found)}")
        found.insert(place, event)
    return tuple(found)


_FARTHEST_NS = 2**61
_BY_TENSORBOARD = re.compile(r"(?P<host>.+)_(?P<rest>\d+\.\d+\.pt\.trace\.json(?:\.gz)?)")
"""How `torch.profiler.tensorboard_trace_handler` names a file: with the host's name first."""

_Value = TypeVar("_Value")


class _Rank(msgspec.Struct):
    rank: int | None = None


class _Gpu(msgspec.Struct):
    name: str | None = None


def load(path: Path, step_range: str | None = None) -> Session:
    """Read the trace at `path`; nothing is written.

    Of torch.profiler's trace the names of calls, kernels, operators, functions, threads and ranges are taken over, and
    the GPU's; the host's name, which the file holds, is not.

    Args:
        path: JSON or packed JSON, whatever its name.
        step_range: the range that marks a step, a name or a pattern; None for those that torch.profiler and syncwatch
            give.

    Raises:
        SessionError: if the file is no trace, with what is wrong and what to do.
        NotMeasuredError: if it holds no call of the CUDA runtime and no work on a GPU.
        UsageError: if no range has the name `step_range`, or it was asked of an export of ours, which has its steps.
    """
    trace = Trace(path)
    if OWN_KEY not in trace.keys:
        found = collected(trace)
        if OWN_KEY not in trace.keys:
            return _imported(path, trace, found, step_range)
    if step_range is not None:
        raise UsageError(f"{path} is an export of syncwatch and has its steps. Leave --step-range out.")
    return session_of(trace, path)


def collected(trace: Trace) -> CollectedRows:
    """Return what counts of every row of `trace`."""
    found = CollectedRows()
    found.take(trace.rows())
    found.left_out += trace.left_out
    return found


def processes_in(trace: Trace, found: CollectedRows, step_range: str | None) -> tuple[TraceProcess, ...]:
    """Return the processes of a trace of torch.profiler, whose rows are `found`."""
    base = _value(trace, "baseTimeNanoseconds", int) or 0
    about = _value(trace, "distributedInfo", _Rank)
    rank = None if about is None else about.rank
    return processes_of(found, base if abs(base) < _FARTHEST_NS else 0, rank, step_range)


def _imported(path: Path, trace: Trace, found: CollectedRows, step_range: str | None) -> Session:
    has_calls = any(host.threads for host in found.hosts.values())
    if not has_calls and not any(works.starts for works in found.works.values()):
        raise NotMeasuredError(
            f"{path} holds nothing of CUDA. Record the program again with ProfilerActivity.CUDA among the activities."
        )
    gpus = _value(trace, "deviceProperties", list[_Gpu]) or []
    gpu = next((each.name for each in gpus if each.name is not None), None)
    processes = processes_in(trace, found, step_range)
    match = _BY_TENSORBOARD.fullmatch(path.name)
    return Session(
        target=path.name if match is None else match["rest"],
        device=DeviceKind.CUDA,
        environment=environment_of(gpu),
        recordings=tuple(map(recording_of, processes)),
        outputs_equal=None,
        complete=True,
        recorder=RecordedBy.TORCH_PROFILER,
        unwatched=tuple(sentence for process in processes for sentence in process.hides()),
    )


def _value(trace: Trace, key: str, kind: type[_Value]) -> _Value | None:
    """Return what stands beside the rows; None where nothing of this kind does."""
    raw = trace.keys.get(key)
    try:
        return None if raw is None else msgspec.json.decode(raw, type=kind)
    except (msgspec.ValidationError, UnicodeDecodeError):
        return None
