"""Hands a Ctrl-C that comes while CUPTI calls Python on to the main thread, where it would be lost."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

OnLost = Callable[[int, int, int, int], None]
"""Takes the callback id, the correlation id, the begin and the end of a call."""


def interrupt_later(library: ctypes.CDLL) -> tuple[int, int, int, int]:
    """Let the main thread be interrupted once the callback has returned.

    Returns:
        What the call that this thread is told of came with: its callback id, its correlation id, its begin and end.
    """
    call = (ctypes.c_int64 * 4)()
    library.syncwatch_interrupt(call)
    number, identity, begin, end = call
    return number, identity, begin, end


@dataclass(slots=True)
class Interrupts:
    """Stands behind a callback: Python looks for signals as a function begins, before any `try` of that function.

    What it raises there goes to `sys.unraisablehook`, as nothing can leave a callback of C. A wait for the GPU is where
    a program is mostly found when the user interrupts it.
    """

    library: ctypes.CDLL
    on_lost: OnLost | None
    _before: Callable[[Any], object] | None = None
    _hook: Callable[[Any], object] | None = None

    def start(self) -> None:
        """Put the hook on."""
        self._before = before = sys.unraisablehook

        def hook(unraisable: Any) -> None:
            # Python 3.13 names the function in the message alone.
            if unraisable.exc_type is not KeyboardInterrupt or "ctypes callback" not in (unraisable.err_msg or ""):
                before(unraisable)
                return
            call = interrupt_later(self.library)
            if self.on_lost is not None:
                self.on_lost(*call)

        self._hook = sys.unraisablehook = hook

    def stop(self) -> None:
        """Take the hook off, unless somebody has put another one over it."""
        if sys.unraisablehook is self._hook and self._before is not None:
            sys.unraisablehook = self._before
