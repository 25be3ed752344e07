"""Keeps what each call at a waiting line gave in each step: recorded once, played back in the same order."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import torch

from syncwatch.bench.replay import ways
from syncwatch.bench.replay.ways import CallReplay, Original
from syncwatch.compat.cpython import ItemSlots, slots_are_known
from syncwatch.model.paths import current_root
from syncwatch.model.session import Line
from syncwatch.sense.stacks import display_path, is_library


@dataclass(frozen=True, slots=True)
class Reader:
    """One callable of torch that can make the host wait, and how it is replayed."""

    owner: Any
    name: str
    way: CallReplay

    @property
    def key(self) -> str:
        """Name it among all readers."""
        return f"{getattr(self.owner, '__name__', self.owner)}.{self.name}"


def readers() -> tuple[Reader, ...]:
    """Return every reader there is."""
    return tuple(_readers())


def _readers() -> Iterator[Reader]:
    tensor = torch.Tensor
    for name in ["item", "tolist", "cpu", "__bool__", "__int__", "__float__", "__index__", "__complex__"]:
        yield Reader(tensor, name, ways.HOST_VALUE)
    for owner in (torch, tensor):
        for name in ("equal", "allclose", "is_nonzero"):
            yield Reader(owner, name, ways.HOST_VALUE)
        yield Reader(owner, "nonzero", ways.NONZERO)
        yield Reader(owner, "argwhere", ways.NONZERO)
        yield Reader(owner, "masked_select", ways.MASKED_SELECT)
        yield Reader(owner, "repeat_interleave", ways.REPEAT_INTERLEAVE)
    yield Reader(torch, "where", ways.WHERE)
    if slots_are_known():
        yield Reader(tensor, "__getitem__", ways.GET_ITEM)
        yield Reader(tensor, "__setitem__", ways.SET_ITEM)
    yield Reader(tensor, "to", ways.MOVE)
    yield Reader(tensor, "cuda", ways.MOVE)
    yield Reader(tensor, "copy_", ways.COPY_INTO)
    yield Reader(tensor, "new_tensor", ways.UPLOAD)
    for name in ("tensor", "as_tensor", "scalar_tensor"):
        yield Reader(torch, name, ways.UPLOAD)
    for waited in (torch.cuda, torch.cuda.Stream, torch.cuda.Event):
        yield Reader(waited, "synchronize", ways.WAIT)


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


_ITEMS = ("__getitem__", "__setitem__")


@contextlib.contextmanager
def wrapped(tape: Tape, readers: Iterable[Reader]) -> Iterator[None]:
    """Send every call of `readers` through `tape`; an operator mode would cost a host-bound step more than it gains."""
    found = tuple(readers)
    items = [ItemSlots.of(owner) for owner in {reader.owner for reader in found if reader.name in _ITEMS}]
    with contextlib.ExitStack() as restore:
        for slots in items:
            restore.callback(slots.put_back)
        for reader in found:
            own = reader.name in vars(reader.owner)
            original = getattr(reader.owner, reader.name)
            restore.callback(_put_back, reader, original, own)
            setattr(reader.owner, reader.name, _wrapper(tape, reader, original))
        for slots in items:
            slots.keep_no_sequence()
        yield


def _put_back(reader: Reader, original: Any, own: bool) -> None:
    if own:
        setattr(reader.owner, reader.name, original)
    else:
        delattr(reader.owner, reader.name)


def _wrapper(tape: Tape, reader: Reader, original: Any) -> Any:
    # A call that is a user's own line finds its cursor here: what a replay takes is missing from the gain it foretells.
    cursors: dict[tuple[int, int], Cursor | None] = {}

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if tape.mode is Mode.OFF or tape.inside or threading.get_ident() != tape.thread:
            return original(*args, **kwargs)
        frame = sys._getframe(1)
        place = (id(frame.f_code), frame.f_lasti)
        if place in cursors:
            cursor = cursors[place]
        else:
            cursor = tape.cursor_at(frame, reader)
            if not tape.skips(frame.f_code):
                cursors[place] = cursor
        return original(*args, **kwargs) if cursor is None else tape.run(cursor, reader, original, args, kwargs)

    wrapper.__name__ = reader.name
    # The virtual device knows the method by what is under the wrapper.
    wrapper.__wrapped__ = original  # type: ignore[attr-defined]
    return wrapper
