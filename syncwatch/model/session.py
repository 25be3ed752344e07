"""One run as it was recorded; everything after `sense` works from a `Session`, and any report is made from it again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

import msgspec

from syncwatch.errors import SessionError
from syncwatch.model.codec import SESSION_KEY, write_json
from syncwatch.model.events import CopyEvent, EventCall, Frame, KernelEvent, RangeEvent, Step, SyncEvent, collector_off
from syncwatch.model.window import RunWindow


class DeviceKind(str, Enum):
    """Which device the target ran on."""

    CUDA = "cuda"
    VIRTUAL = "virtual"


class RecordedBy(str, Enum):
    """Which program recorded."""

    SYNCWATCH = "syncwatch"
    NSYS = "nsys"
    TORCH_PROFILER = "torch.profiler"


@dataclass(frozen=True, slots=True)
class Environment:
    """The versions and the device that a figure belongs to; no user name, host name or environment variable."""

    torch: str
    triton: str | None
    gpu: str | None
    """The GPU's name, or None where there is none; the virtual device says which GPU it stands for."""
    driver: str | None
    python: str
    syncwatch: str


@dataclass(frozen=True, slots=True)
class Joins:
    """How the driver calls that were seen and the records of CUPTI fit together, by correlation id."""

    calls: int
    """Driver calls that waited, copied or started work on the GPU, so that a record is due."""
    joined: int
    """Of them those whose record is there."""
    calls_alone: int
    """Those without a record."""
    records_alone: int
    """Records of kernels and copies without their call. Of waits they are not counted: to end the watch waits, too."""
    kernels: int
    """Kernels and memsets that were recorded."""
    lost: int
    """Records that CUPTI dropped, or that could not be read."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """What was watched, and what was not."""

    sensors: tuple[str, ...]
    blind_to: tuple[str, ...]
    """What none of these sensors can see, one phrase each."""
    seen: int | None
    """Synchronizations that the most complete sensor counted; None where it could not run."""
    attributed: int
    """How many of the recorded synchronizations have a line."""
    joins: Joins | None = None
    """None where calls and records were not both watched."""
    warned: int | None = None
    """Waits that torch's sync debug mode warned of; None where it was not on."""
    warned_unseen: int | None = None
    """Of them those that no other sensor saw."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the user's, as `Site` names it."""

    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Replay:
    """The step with the host value of one line, or of all of them, recorded before instead of read."""

    lines: tuple[Line, ...]
    """The lines that did not read."""
    rounds_ns: tuple[tuple[int, ...], ...]
    """Step times in ns, a tuple for each round; empty where it was not possible."""
    refused: str | None = None
    """Why it was not possible, a sentence."""


@dataclass(frozen=True, slots=True)
class Recording:
    """One variant of the target, as the sensors saw it."""

    variant: str
    steps: tuple[Step, ...]
    rounds_ns: tuple[tuple[int, ...], ...]
    """Honest step times in ns: one tuple of measured steps for each interleaved round; empty where none was taken."""
    modelled: bool
    """Whether the times come from the virtual clock."""
    threads: tuple[str, ...]
    frames: tuple[Frame, ...]
    stacks: tuple[tuple[int, ...], ...]
    """Indices into `frames`, innermost first."""
    syncs: tuple[SyncEvent, ...]
    copies: tuple[CopyEvent, ...] | None
    """None where no sensor recorded copies."""
    kernels: tuple[KernelEvent, ...] | None
    """None where no sensor recorded kernels."""
    ranges: tuple[RangeEvent, ...]
    coverage: Coverage
    notes: tuple[str, ...] = ()
    """What a reader should know of this recording, a sentence each."""
    range_stacks: tuple[tuple[str, ...], ...] = ()
    """The names of nested NVTX ranges, outermost first; `SyncEvent.within` points here."""
    host_build_ns: tuple[int, ...] = ()
    """Host time in ns of each measured step in ranges named `build metadata`, in the pass without CUPTI."""
    priced_ns: tuple[int, ...] = ()
    """Step times in ns of the pass that CUPTI watched; beside `rounds_ns` they tell what watching cost."""
    figures: tuple[dict[str, float | None], ...] = ()
    """Figures of the scenario's own by name, once for each round; empty where it has none."""
    replays: tuple[Replay, ...] = ()
    """What the step took without its host reads; empty where that was not asked."""
    event_calls: tuple[EventCall, ...] | None = None
    """What ties streams to one another, in the order of the calls; None where no sensor recorded it."""
    launch_watch_ns: int = 0
    """By how much watching made a launch longer, which has no line to look up."""
    used_gpu: bool | None = None
    """Whether it had a kernel, a copy, a wait or an allocation on the device; None where that is not known."""


_FARTHEST = 2**63
"""Times are 64-bit integers wherever they come from; JSON knows no bound, and a float has one."""


class Recorded(Protocol):
    """A session, which is not known here."""

    @property
    def recordings(self) -> tuple[Recording, ...]:
        """Everything that was recorded."""


def faults_of(session: Recorded) -> Iterator[str]:
    """Yield a phrase for each thing in `session` that no recorder writes."""
    names = [recording.variant for recording in session.recordings]
    yield from (f"it has the variant {name!r} twice" for name in set(names) if names.count(name) > 1)
    for recording in session.recordings:
        yield from (f"{fault} in the variant {recording.variant!r}" for fault in _faults(recording))


def _faults(recording: Recording) -> Iterator[str]:
    pointers = (
        ("a frame", (index for stack in recording.stacks for index in stack), len(recording.frames)),
        ("a stack", (sync.stack for sync in recording.syncs), len(recording.stacks)),
        ("a stack", (copy.stack for copy in recording.copies or ()), len(recording.stacks)),
        ("nested ranges", (sync.within for sync in recording.syncs), len(recording.range_stacks)),
        ("a thread", _threads(recording), len(recording.threads)),
    )
    for what, indices, count in pointers:
        if not all(index is None or 0 <= index < count for index in indices):
            yield f"something points at {what} that is not there"
    if not all(0 <= copy.bytes < _FARTHEST for copy in recording.copies or ()):
        yield "a copy has no size that can be"
    spans = [(step.start_ns, step.end_ns) for step in recording.steps]
    spans += [(kernel.start_ns, kernel.end_ns) for kernel in recording.kernels or ()]
    spans += [(each.start_ns, each.end_ns) for each in recording.ranges]
    timed: tuple[SyncEvent | CopyEvent, ...] = (*recording.syncs, *(recording.copies or ()))
    spans += [(each.start_ns, each.end_ns) for each in timed if each.start_ns is not None and each.end_ns is not None]
    if not all(-_FARTHEST <= start <= end < _FARTHEST for start, end in spans):
        yield "something ends before it begins"
    passes = (*recording.rounds_ns, recording.priced_ns, recording.host_build_ns)
    if not all(0 <= time < _FARTHEST for times in passes for time in times):
        yield "a step has no time that can be"
    counts = (recording.coverage.seen, recording.coverage.attributed)
    if not all(count is None or 0 <= count < _FARTHEST for count in counts):
        yield "its coverage has no count that can be"
    if not all(0 <= each < _FARTHEST for each in _watching(recording)):
        yield "watching took a time that cannot be"
    if not _distinct(step.index for step in recording.steps):
        yield "two steps have one number"


def _watching(recording: Recording) -> Iterator[int]:
    yield recording.launch_watch_ns
    yield from (each.watch_ns for each in recording.syncs)
    yield from (each.call.watch_ns for each in recording.copies or () if each.call is not None)
    yield from (time for each in recording.steps for time in (each.before_ns, each.after_ns))


def _threads(recording: Recording) -> Iterator[int]:
    yield from (each.thread for each in recording.event_calls or ())
    copies, kernels = recording.copies or (), recording.kernels or ()
    yield from (event.thread for events in (recording.syncs, copies, recording.ranges) for event in events)
    yield from (work.call.thread for works in (copies, kernels) for work in works if work.call is not None)


def _distinct(numbers: Iterable[int]) -> bool:
    known = list(numbers)
    return len(set(known)) == len(known)


__all__ = [
    "SESSION_SCHEMA",
    "Coverage",
    "DeviceKind",
    "Environment",
    "Line",
    "RecordedBy",
    "Recording",
    "Replay",
    "Session",
    "decode_session",
    "read_session",
    "session_in",
]

SESSION_SCHEMA = "syncwatch.session/1"


@dataclass(frozen=True, slots=True)
class Session:
    """Everything that one run recorded; any report can be made again from it."""

    target: str
    device: DeviceKind
    environment: Environment
    recordings: tuple[Recording, ...]
    outputs_equal: bool | None
    """Whether every variant gave the same bits; None where it was not compared."""
    complete: bool
    """False when the run ended early."""
    missing: tuple[str, ...] = ()
    """What an incomplete run lacks, a sentence each."""
    parameters: dict[str, str] | None = None
    """What was run: the scenario's preset and shapes; None for a user's own target."""
    recorder: RecordedBy = RecordedBy.SYNCWATCH
    """Where it is from; a trace of another program has a recording for each process, and no variants."""
    unwatched: tuple[str, ...] = ()
    """What ran as part of the target and was not watched, a sentence each, such as a child; a gate cannot judge it."""
    notes: tuple[str, ...] = ()
    """What a reader should know of the whole run, a sentence each, such as a torch newer than any that was tried."""
    window: RunWindow | None = None
    """The part of the program that was recorded; None where it was the whole of it, or no window began."""
    schema: str = SESSION_SCHEMA

    def save(self, path: Path | str) -> None:
        """Write the session to `path` as JSON, whole or not at all.

        Raises:
            OSError: if the folder cannot be written.
        """
        write_json(self, Path(path))

    @classmethod
    def load(cls, path: Path | str) -> Session:
        """Read a session that `save` or `syncwatch run -o` wrote.

        Raises:
            SessionError: if the file is no session, with what is wrong and what to do.
        """
        return read_session(Path(path))


def read_session(path: Path) -> Session:
    """Read a session file, or the session inside a run file.

    Raises:
        SessionError: if the file cannot be read or is no session of this schema.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise SessionError(
            f"Cannot read {path}: {error.strerror}. Give a file that `syncwatch run -o` wrote."
        ) from error
    return session_in(raw, path)


@collector_off()
def session_in(raw: bytes, path: Path) -> Session:
    """Return the session in `raw`, which stood in the file `path`.

    Raises:
        SessionError: if it is no session of this schema.
    """
    try:
        session = decode_session(raw)
        _require_sound(session)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SessionError(
            f"{path} is not a syncwatch session: {error}. Record one with `syncwatch run TARGET -o {path.name}`."
        ) from error
    return session


def decode_session(raw: bytes) -> Session:
    """Return the session in `raw` as it was written, sound or not.

    Raises:
        msgspec.DecodeError: if there is none of this schema.
    """
    document = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    body = document.get(SESSION_KEY)
    session = msgspec.json.decode(raw if body is None else body, type=Session)
    if session.schema != SESSION_SCHEMA:
        raise msgspec.ValidationError(f"its schema is {session.schema!r}, this version reads {SESSION_SCHEMA!r}")
    return session


def _require_sound(session: Session) -> None:
    fault = next(faults_of(session), None)
    if fault is not None:
        raise msgspec.ValidationError(fault)
