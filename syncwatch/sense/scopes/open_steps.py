"""Finds the step that a thread or task works for when it is in none itself: a measured one that is open.

A warm-up step excuses waits, so only what belongs to it counts for it: threads that were started in it, and autograd's
while the thread that is in the step runs backward. All else that waits meanwhile lies outside every step.
"""

from __future__ import annotations

import sys
import threading
from types import FrameType
from weakref import WeakSet

from syncwatch.compat.torch_cuda import BACKWARD
from syncwatch.sense.scopes.scope import STEPS, ScopeBlock
from syncwatch.sense.stacks import AUTOGRAD, thread_name

Numbers = tuple[tuple[object, int], ...]


class OpenStep:
    """A step that has begun and not ended."""

    __slots__ = ("_block", "_ident", "_started", "number", "warmup")

    def __init__(self, number: int, block: ScopeBlock[Numbers], *, warmup: bool) -> None:
        """Begin it on the calling thread; `block` is what that entered."""
        self.number = number
        self.warmup = warmup
        self._block = block
        self._ident = threading.get_ident()
        self._started: WeakSet[threading.Thread] = WeakSet()

    def includes(self, other: threading.Thread) -> None:
        """Note that `other` is about to be started, if the calling thread is in this step."""
        if self._block in STEPS.all() or threading.current_thread() in self._started:
            self._started.add(other)

    def has(self) -> bool:
        """Return whether the calling thread, which is in no step of its own, works for this one."""
        if not self.warmup or threading.current_thread() in self._started:
            return True
        return thread_name().startswith(AUTOGRAD) and self._runs_backward()

    def _runs_backward(self) -> bool:
        top = sys._current_frames().get(self._ident)
        owner = self._block.owner
        return _is_in_backward(top) and (owner is None or owner.under(top))


def _is_in_backward(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_name == BACKWARD.attribute:
            return True
        frame = frame.f_back
    return False


def step_of_thread(steps: list[OpenStep]) -> int | None:
    """Return for which of `steps`, innermost last, the calling thread works that is in none of them."""
    return next((each.number for each in reversed(steps) if each.has()), None)
