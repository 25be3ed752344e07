"""Writes the records to a file, and reads the records from it again."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import is_dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from syncwatch.model.compact import as_tuple
from syncwatch.model.paths import replacing

SESSION_KEY = "session"
"""Where the session of a run file stands."""
_LONG_FIELDS = ("syncs", "copies", "kernels", "ranges")
_PIECE = 2000
"""Events that are encoded at once: half a megabyte."""


def encode(record: Any) -> bytes:
    """Return `record` as indented JSON that ends in a newline; what is not Unicode in a name is replaced."""
    return _indented(record) + b"\n"


def _indented(record: Any) -> bytes:
    try:
        compact = msgspec.json.encode(record, enc_hook=as_tuple)
    except UnicodeEncodeError:
        # File names that are no UTF-8 come from the system with lone surrogates, which JSON cannot hold.
        compact = msgspec.json.encode(_replaced(msgspec.to_builtins(record, str_keys=True, enc_hook=as_tuple)))
    return msgspec.json.format(compact, indent=1)


def _replaced(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", errors="replace").decode("utf-8")
    if isinstance(value, dict):
        return {_replaced(key): _replaced(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_replaced(each) for each in value]
    return value


def write_json(record: Any, path: Path) -> None:
    """Write `record` to `path` as `encode` does, whole or not at all; the events of a session piece by piece.

    Encoded at once, 200,000 waits with as many copies and kernels took 430 MB beside what they are themselves.

    Raises:
        OSError: if the folder cannot be written.
    """
    with replacing(path) as beside, beside.open("wb") as file:
        file.writelines(_pieces(record))


def _pieces(record: Any) -> Iterator[bytes]:
    """Yield the parts of what `encode` returns for `record`: a session, or a run file, which holds one."""
    mark = uuid.uuid4().hex
    events: list[Sequence[Any]] = []
    if _has_recordings(record):
        frame: Any = _without_events(record, mark, events)
    elif isinstance(record, dict) and _has_recordings(record.get(SESSION_KEY)):
        frame = {**record, SESSION_KEY: _without_events(record[SESSION_KEY], mark, events)}
    else:
        frame = record
    parts = re.split(rf'( *)("[^"]*": )"{mark}(\d+)"'.encode(), _indented(frame))
    yield parts[0]
    for depth, key, number, rest in zip(parts[1::4], parts[2::4], parts[3::4], parts[4::4], strict=True):
        yield depth + key
        yield from _array(events[int(number)], depth)
        yield rest
    yield b"\n"


def _has_recordings(record: Any) -> bool:
    """Return whether `record` is a session."""
    return is_dataclass(record) and hasattr(record, "recordings")


def _without_events(session: Any, mark: str, events: list[Sequence[Any]]) -> Any:
    """Return `session` with `mark` and a number in the place of each long field, which is put into `events`."""

    def taken(field: Sequence[Any] | None) -> Any:
        if not field:
            return field
        events.append(field)
        return f"{mark}{len(events) - 1}"

    return replace(
        session,
        recordings=tuple(
            replace(each, **{name: taken(getattr(each, name)) for name in _LONG_FIELDS}) for each in session.recordings
        ),
    )


def _array(events: Sequence[Any], depth: bytes) -> Iterator[bytes]:
    """Yield `events` as an indented array in a line that begins with the blanks `depth`."""
    begin = b"["
    remaining = iter(events)
    while piece := list(islice(remaining, _PIECE)):
        # Without its own brackets, which stand alone on the first and the last line.
        lines = _indented(piece)[1:-2]
        yield begin + lines.replace(b"\n", b"\n" + depth)
        begin = b","
    yield b"\n" + depth + b"]"


def write_bytes(content: bytes, path: Path) -> None:
    """Write `content` to `path` through a neighbour file, so that a reader never sees half of it.

    Raises:
        OSError: if the folder cannot be written.
    """
    with replacing(path) as beside:
        beside.write_bytes(content)
