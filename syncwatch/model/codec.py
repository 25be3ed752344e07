"""Answers: how do the records become a file, and a file the records again?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from syncwatch.errors import SessionError
from syncwatch.model.collector import collector_off
from syncwatch.model.replacing import replacing
from syncwatch.model.session import SESSION_SCHEMA, Session
from syncwatch.model.validity import faults_of

_SESSION_KEY = "session"


def encode(record: Any) -> bytes:
    """Return `record` as indented JSON that ends in a newline; what is not Unicode in a name is replaced."""
    try:
        compact = msgspec.json.encode(record)
    except UnicodeEncodeError:
        # File names that are no UTF-8 come from the system with lone surrogates, which JSON cannot hold.
        compact = msgspec.json.encode(_replaced(msgspec.to_builtins(record, str_keys=True)))
    return msgspec.json.format(compact, indent=1) + b"\n"


def _replaced(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", errors="replace").decode("utf-8")
    if isinstance(value, dict):
        return {_replaced(key): _replaced(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_replaced(each) for each in value]
    return value


def write_json(record: Any, path: Path) -> None:
    """Write `record` to `path` as JSON, as `write_bytes` does."""
    write_bytes(encode(record), path)


def write_bytes(content: bytes, path: Path) -> None:
    """Write `content` to `path` through a neighbour file, so that a reader never sees half of it.

    Raises:
        OSError: if the folder cannot be written.
    """
    with replacing(path) as beside:
        beside.write_bytes(content)


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
    body = document.get(_SESSION_KEY)
    session = msgspec.json.decode(raw if body is None else body, type=Session)
    if session.schema != SESSION_SCHEMA:
        raise msgspec.ValidationError(f"its schema is {session.schema!r}, this version reads {SESSION_SCHEMA!r}")
    return session


def _require_sound(session: Session) -> None:
    fault = next(faults_of(session), None)
    if fault is not None:
        raise msgspec.ValidationError(fault)
