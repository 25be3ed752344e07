"""Holds what applies to the code that runs now: ranges, step and permission of this thread or asyncio task.

A generator shares the context variables of whoever asks it for values: what it entered would hold for its caller too
while it is suspended inside. So a block belongs to the generator, or the coroutine, that it was entered in. One that
makes a context manager or a fixture is entered for its caller, and owns nothing.
"""

from __future__ import annotations

import inspect
import sys
from contextvars import ContextVar, Token
from enum import Enum
from types import CodeType, FrameType
from typing import Generic, TypeVar

_ASYNC = inspect.CO_COROUTINE | inspect.CO_ITERABLE_COROUTINE
_IN_TURNS = inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR | _ASYNC
_FOR_OTHERS = frozenset({"_pytest", "pluggy", "pytest_asyncio", "anyio"})
"""Packages that run the two halves of a generator around the code of others."""
_ENTERS = frozenset({"__enter__", "__aenter__"})

_HERE: ContextVar[None] = ContextVar("syncwatch_here", default=None)
"""Of no value: a token of it is known in one context alone, and so tells contexts apart."""


class Owner:
    """The generator or coroutine that a block was entered in."""

    __slots__ = ("_code", "_frame", "_here")

    def __init__(self, frame: FrameType) -> None:
        # Not the frame itself, which would keep every tensor in it alive.
        self._frame = id(frame)
        self._code: CodeType = frame.f_code
        self._here: Token[None] = _HERE.set(None)

    def runs(self) -> bool:
        """Return whether it is on the calling thread's stack, or what it entered came here with a copied context.

        A task that it started, or a thread that was given its context, goes on without it.
        """
        return self.under(sys._getframe(1)) or self._is_elsewhere()

    def under(self, frame: FrameType | None) -> bool:
        """Return whether it is on the stack that ends in `frame`."""
        while frame is not None:
            if id(frame) == self._frame and frame.f_code is self._code:
                return True
            frame = frame.f_back
        return False

    def _is_elsewhere(self) -> bool:
        try:
            _HERE.reset(self._here)
        except ValueError:
            return True
        # A token can be used once.
        self._here = _HERE.set(None)
        return False


def owner_of(frame: FrameType | None) -> Owner | None:
    """Return whose turn ends what is entered in `frame`; None where that is a plain call, which has no turns."""
    while frame is not None:
        if frame.f_code.co_flags & _IN_TURNS and not _is_for_others(frame):
            return Owner(_outermost(frame))
        frame = frame.f_back
    return None


def _is_for_others(frame: FrameType) -> bool:
    driver = frame.f_back
    return _enters(frame) or (driver is not None and _enters(driver))


def _enters(frame: FrameType) -> bool:
    """Return whether `frame` enters a context manager or sets up a fixture, in whatever way."""
    if frame.f_code.co_name in _ENTERS:
        return True
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] in _FOR_OTHERS


def _outermost(frame: FrameType) -> FrameType:
    """Return the coroutine that awaits all others around `frame`: they stop together, and may end before it."""
    while frame.f_code.co_flags & _ASYNC and frame.f_back is not None and frame.f_back.f_code.co_flags & _ASYNC:
        frame = frame.f_back
    return frame


_T = TypeVar("_T")


class ScopeBlock(Generic[_T]):
    """What code has entered and not left."""

    __slots__ = ("open", "owner", "value")

    def __init__(self, value: _T, frame: FrameType | None) -> None:
        self.value = value
        self.owner: Owner | None = owner_of(frame)
        self.open = True

    def holds(self) -> bool:
        """Return whether it is around the code that runs in the calling thread."""
        return self.open and (self.owner is None or self.owner.runs())


class ScopeStack(Generic[_T]):
    """The blocks of one kind around the running code, in this thread or task and in tasks that it starts."""

    def __init__(self, name: str) -> None:
        self._blocks: ContextVar[tuple[ScopeBlock[_T], ...]] = ContextVar(name, default=())
        self.entered = self._blocks.get
        """Returns every block, also those that do not hold; innermost last."""

    def enter(self, value: _T) -> ScopeBlock[_T]:
        """Let `value` hold from now on, and return by what to leave it."""
        block = ScopeBlock(value, sys._getframe(1))
        self._blocks.set((*self._blocks.get(), block))
        return block

    def leave(self, block: ScopeBlock[_T]) -> None:
        """End `block`, which need not be the innermost: generators leave in the order in which they are closed.

        Tasks that were started inside keep it, unless it is left elsewhere than it was entered.
        """
        known = self._blocks.get()
        if block in known:
            self._blocks.set(tuple(each for each in known if each is not block))
        else:
            block.open = False

    def latest(self, blocks: list[ScopeBlock[_T]]) -> ScopeBlock[_T]:
        """Take out of `blocks` the one that the calling thread or task entered last."""
        known = self._blocks.get()
        mine = next((each for each in reversed(blocks) if each in known), blocks[-1])
        blocks.remove(mine)
        return mine

    def innermost(self) -> ScopeBlock[_T] | None:
        """Return the innermost block that holds."""
        known = self._blocks.get()
        return next((each for each in reversed(known) if each.holds()), None) if known else None

    def all(self) -> tuple[ScopeBlock[_T], ...]:
        """Return the blocks that hold, innermost last."""
        known = self._blocks.get()
        return tuple(each for each in known if each.holds()) if known else ()


STEPS: ScopeStack[tuple[tuple[object, int], ...]] = ScopeStack("syncwatch_steps")
"""Recorders and numbers of the steps around the running code."""

ALLOWED: ScopeStack[str] = ScopeStack("syncwatch_allowed")
"""The reasons of the `syncwatch.allow` around the running code."""


def allowed() -> str | None:
    """Return the reason of the innermost `syncwatch.allow` around the running code."""
    block = ALLOWED.innermost()
    return None if block is None else block.value


_era = 0
"""Counts the stretches of time in which the ranges of torch and nvtx were recorded."""


class RangeEnd(Enum):
    """How a range ends."""

    WITH_ITS_BLOCK = "a `with` block"
    BY_POP = "the next pop of its kind"
    BY_HANDLE = "whoever has its handle, in any thread"


class OpenRange:
    """A range that code has entered and not left."""

    __slots__ = ("block", "code", "ends", "era", "frame", "key", "name", "open", "owner")

    def __init__(
        self, name: str, key: object, ends: RangeEnd, within: FrameType | None = None, *, block: bool | None = None
    ) -> None:
        """Set up.

        Args:
            name: what it is called.
            key: by what it is left again; of equal keys the innermost is left first.
            ends: how it ends.
            within: the frame that it does not outlive: a decorator that forgets to pop when its function raises.
            block: whether it belongs to the code that entered it, as a `with` block does; None: if it ends with one.
        """
        self.name = name
        self.key = key
        self.ends = ends
        self.open = True
        self.era: int | None = _era
        """In which such stretch it began, since its end is recorded in that one alone; None for our own."""
        # Not the frame itself, which would keep every tensor in it alive.
        self.frame = None if within is None else id(within)
        self.code: CodeType | None = None if within is None else within.f_code
        self.block = ends is RangeEnd.WITH_ITS_BLOCK if block is None else block
        self.owner: Owner | None = None

    def holds(self) -> bool:
        """Return whether it is still around the code that runs in the calling thread."""
        if not self.open or self.era not in (None, _era):
            return False
        if self.owner is not None and not self.owner.runs():
            return False
        if self.frame is None:
            return True
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            if id(frame) == self.frame and frame.f_code is self.code:
                return True
            frame = frame.f_back
        return False


_RANGES: ContextVar[tuple[OpenRange, ...]] = ContextVar("syncwatch_ranges", default=())
"""Every range around the running code, outermost first."""


entered_ranges = _RANGES.get
"""Returns them, also those that do not hold."""

_handled: dict[object, OpenRange] = {}
"""The ranges that are open and may be ended from another thread, by their keys."""


def ranges() -> tuple[str, ...]:
    """Return the names of the ranges around the running code, outermost first."""
    entered = _RANGES.get()
    return tuple(each.name for each in entered if each.holds()) if entered else ()


def depth(key: object) -> int:
    """Return how many ranges with `key` are around the running code."""
    return sum(each.key == key for each in _RANGES.get() if each.holds())


def close_foreign_ranges() -> None:
    """End every range of torch or nvtx: from now on no hook sees the program leave it."""
    global _era
    _era += 1
    _handled.clear()


def enter(entered: OpenRange) -> None:
    """Let `entered` hold from now on, in this thread or task and in tasks that it starts."""
    kept = [
        each
        for each in _RANGES.get()
        if each.open and each.era in (None, _era) and (entered.frame is None or each.frame != entered.frame)
    ]
    _RANGES.set((*kept, entered))
    if entered.ends is RangeEnd.BY_HANDLE:
        _handled[entered.key] = entered


def leave(key: object) -> tuple[OpenRange, ...]:
    """End the innermost range with `key`, and return what ended: with a block also what was pushed in it and stayed."""
    elsewhere = _handled.pop(key, None)
    known = _RANGES.get()
    index = next((place for place in range(len(known) - 1, -1, -1) if known[place].key == key), None)
    if index is None and elsewhere is not None:
        elsewhere.open = False
        return (elsewhere,)
    if index is None:
        return ()
    after = known[index + 1 :]
    pushed = tuple(each for each in after if each.ends is RangeEnd.BY_POP)
    lost = pushed if known[index].ends is RangeEnd.WITH_ITS_BLOCK else ()
    _RANGES.set((*known[:index], *(each for each in after if each not in lost)))
    ended = (known[index], *lost)
    for each in ended:
        # Contexts that were copied from this one still have it.
        each.open = False
    return ended
