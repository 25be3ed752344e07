"""Answers: what did each call at a waiting line give, in each step? Recorded once, played back in the same order."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from types import CodeType, FrameType
from typing import Any

from syncwatch.bench.replay.readers import Reader
from syncwatch.bench.replay.ways import Original
from syncwatch.model.events import LIBRARY_FILES
from syncwatch.model.session import Line
from syncwatch.sense.stacks import display_path

_DEEPEST = 16


class ReplayError(Exception):
    """The step did not take the way that was recorded."""


class Mode(Enum):
    """What the tape does with a call."""

    OFF = "off"
    RECORD = "record"
    REPLAY = "replay"


CallKey = tuple[int, Line, str, int]
"""Step, line, reader, and the number of the call among those."""
Calls = dict[CallKey, Any]
"""What the reader needs to give the same result without waiting; None for a call that did not wait."""


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
    _step: int = 0
    _counts: Counter[tuple[Line, str]] = field(default_factory=Counter)
    _thread: int = field(default_factory=threading.get_ident)
    _inside: bool = False
    _is_library: dict[int, tuple[bool, CodeType]] = field(default_factory=dict)
    """By the id of a code object, since its hash is of all its bytes; held, so that no id is given again."""
    _line_at: dict[tuple[int, int], Line | None] = field(default_factory=dict)

    def begin(self, step: int) -> None:
        """Note that `step` begins."""
        self._step = step
        self._counts.clear()

    def readers_of(self, lines: Iterable[Line]) -> frozenset[str]:
        """Return the names of the readers that waited at `lines`."""
        wanted = set(lines)
        return frozenset(key[2] for key, value in self.calls.items() if key[1] in wanted and value is not None)

    def call(self, reader: Reader, original: Original, args: Any, kwargs: Any) -> Any:
        """Run one wrapped call: as it is, recorded, or replayed.

        Raises:
            ReplayError: if the step makes a call that was not recorded.
        """
        if self.mode is Mode.OFF or self._inside or threading.get_ident() != self._thread:
            return original(*args, **kwargs)
        line = self._line_of(sys._getframe(2))
        if line is None or (self.mode is Mode.REPLAY and line not in self.played):
            return original(*args, **kwargs)
        number = self._counts[line, reader.key]
        self._counts[line, reader.key] = number + 1
        key = (self._step, line, reader.key, number)
        self._inside = True
        try:
            if self.mode is Mode.RECORD:
                result, self.calls[key] = reader.way.record(original, args, kwargs)
                return result
            if key not in self.calls:
                raise ReplayError(f"{line.file}:{line.line} made a call that was not made before")
            known = self.calls[key]
            return original(*args, **kwargs) if known is None else reader.way.replay(original, args, kwargs, known)
        finally:
            self._inside = False

    def _line_of(self, frame: FrameType | None) -> Line | None:
        """Return the waiting line of the user's that `frame` belongs to, if it is one."""
        for _ in range(_DEEPEST):
            if frame is None or not self._skips(frame.f_code):
                break
            frame = frame.f_back
        if frame is None:
            return None
        place = (id(frame.f_code), frame.f_lasti)
        if place not in self._line_at:
            here = Line(display_path(frame.f_code.co_filename), frame.f_lineno or 0)
            self._line_at[place] = here if here in self.lines else None
        return self._line_at[place]

    def _skips(self, code: CodeType) -> bool:
        known = self._is_library.get(id(code))
        if known is None:
            known = self._is_library[id(code)] = (display_path(code.co_filename).startswith(LIBRARY_FILES), code)
        return known[0]
