"""Keeps what each call at a waiting line gave in each step: recorded once, played back in the same order."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from syncwatch.bench.replay.readers import Reader
from syncwatch.bench.replay.ways import Original
from syncwatch.model.project import current_root
from syncwatch.model.session import Line
from syncwatch.sense.stacks import display_path, is_library

_DEEPEST = 16


class ReplayError(Exception):
    """The step did not take the way that was recorded."""


class Mode(Enum):
    """What the tape does with a call."""

    OFF = "off"
    RECORD = "record"
    REPLAY = "replay"


CallsKey = tuple[int, Line, str]
"""Step, line and reader."""
Calls = dict[CallsKey, list[Any]]
"""What the reader needs to give the results again without waiting, in order; None for a call that did not wait."""


@dataclass(slots=True)
class Cursor:
    """The calls of one reader at one line in the running step."""

    line: Line
    values: list[Any]
    at: int = 0


@dataclass(slots=True)
class Tape:
    """The calls at `lines`, by step, line and order.

    Only the thread that made the tape is recorded: the order of others is not certain.
    """

    lines: frozenset[Line]
    mode: Mode = Mode.OFF
    played: frozenset[Line] = frozenset()
    """The lines that are replayed; the others run as they are."""
    calls: Calls = field(default_factory=dict)
    thread: int = field(default_factory=threading.get_ident)
    inside: bool = False
    """Whether a call runs: what it calls itself is a part of it."""
    _step: int = 0
    _cursors: dict[tuple[Line, str], Cursor] = field(default_factory=dict)
    _is_library: dict[int, tuple[bool, CodeType]] = field(default_factory=dict)
    """By the id of a code object, since its hash is of all its bytes; held, so that no id is given again."""
    _root: Path | None = field(default_factory=current_root)

    def begin(self, step: int) -> None:
        """Note that `step` begins."""
        self._step = step
        for (line, key), cursor in self._cursors.items():
            cursor.values = self._values(line, key)
            cursor.at = 0

    def readers_of(self, lines: Iterable[Line]) -> frozenset[str]:
        """Return the names of the readers that waited at `lines`."""
        wanted = set(lines)
        waited = (key for key, values in self.calls.items() if any(value is not None for value in values))
        return frozenset(key for _, line, key in waited if line in wanted)

    def cursor_at(self, frame: FrameType, reader: Reader) -> Cursor | None:
        """Return the cursor of the waiting line that `frame` belongs to; None where its calls run as they are."""
        line = self._line_of(frame)
        if line is None or (self.mode is Mode.REPLAY and line not in self.played):
            return None
        place = (line, reader.key)
        if place not in self._cursors:
            self._cursors[place] = Cursor(line, self._values(*place))
        return self._cursors[place]

    def run(self, cursor: Cursor, reader: Reader, original: Original, args: Any, kwargs: Any) -> Any:
        """Run one call: recorded, or replayed.

        Raises:
            ReplayError: if the step makes a call that was not recorded.
        """
        at = cursor.at
        cursor.at = at + 1
        self.inside = True
        try:
            if self.mode is Mode.RECORD:
                result, value = reader.way.record(original, args, kwargs)
                cursor.values.append(value)
                return result
            if at >= len(cursor.values):
                raise ReplayError(f"{cursor.line.file}:{cursor.line.line} made a call that was not made before")
            known = cursor.values[at]
            return original(*args, **kwargs) if known is None else reader.way.replay(original, args, kwargs, known)
        finally:
            self.inside = False

    def skips(self, code: CodeType) -> bool:
        """Return whether a line in `code` is no user's."""
        known = self._is_library.get(id(code))
        if known is None:
            known = self._is_library[id(code)] = (is_library(code, self._root), code)
        return known[0]

    def _values(self, line: Line, key: str) -> list[Any]:
        """Return the calls of the running step, to be filled or to be played."""
        if self.mode is Mode.RECORD:
            return self.calls.setdefault((self._step, line, key), [])
        return self.calls.get((self._step, line, key), [])

    def _line_of(self, frame: FrameType | None) -> Line | None:
        """Return the waiting line of the user's that `frame` belongs to, if it is one."""
        for _ in range(_DEEPEST):
            if frame is None or not self.skips(frame.f_code):
                break
            frame = frame.f_back
        if frame is None:
            return None
        here = Line(display_path(frame.f_code.co_filename, self._root), frame.f_lineno or 0)
        return here if here in self.lines else None
