"""Tells whether the code that entered a block runs now, or waits for its turn, as a suspended generator does.

A generator shares the context variables of whoever asks it for values: what it entered would hold for its caller too
while it is suspended inside. So a block belongs to the generator, or the coroutine, that it was entered in. One that
makes a context manager or a fixture is entered for its caller, and owns nothing.
"""

from __future__ import annotations

import inspect
import sys
from contextvars import ContextVar, Token
from types import CodeType, FrameType

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
