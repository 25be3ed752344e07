"""One run as it was recorded; everything after `sense` works from a `Session`, and any report is made from it again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from syncwatch.errors import SessionError
from syncwatch.model.codec import SESSION_KEY, write_json
from syncwatch.model.collector import collector_off
from syncwatch.model.recording import (
    Coverage,
    DeviceKind,
    Environment,
    Line,
    Recorder,
    Recording,
    Replay,
)
from syncwatch.model.validity import faults_of

__all__ = [
    "SESSION_SCHEMA",
    "Coverage",
    "DeviceKind",
    "Environment",
    "Line",
    "Recorder",
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
    recorder: Recorder = Recorder.SYNCWATCH
    """Where it is from; a trace of another program has a recording for each process, and no variants."""
    unwatched: tuple[str, ...] = ()
    """What ran as part of the target and was not watched, a sentence each, such as a child; a gate cannot judge it."""
    notes: tuple[str, ...] = ()
    """What a reader should know of the whole run, a sentence each, such as a torch newer than any that was tried."""
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
