"""Hands on what a signal's handler raises while CUPTI calls Python: it would be lost, as nothing can leave a callback.

Ctrl-C and SIGTERM mostly come while the program waits for the GPU, so just before a callback of ours runs.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

OnLost = Callable[[int, int, int, int], None]
"""Takes the callback id, the correlation id, the begin and the end of a call."""
_SENSOR = Path(__file__).parents[1]
_kept: list[type[BaseException]] = []
"""The last exception that was handed on: Python holds no reference to it until it is raised."""


def is_of_a_signal(error: BaseException) -> bool:
    """Return whether a signal's handler raised `error`, and not what looks up the line of a call."""
    if threading.get_ident() != threading.main_thread().ident:
        # Handlers run in the main thread alone.
        return False
    if isinstance(error, KeyboardInterrupt):
        return True
    traceback: TracebackType | None = error.__traceback__
    while traceback is not None:
        if not Path(traceback.tb_frame.f_code.co_filename).is_relative_to(_SENSOR):
            return True
        traceback = traceback.tb_next
    return False


def raise_later(library: ctypes.CDLL, error: BaseException) -> tuple[int, int, int, int]:
    """Let the main thread, which alone runs handlers of signals, raise `error` once the callback has returned.

    Returns:
        What the call that this thread is told of came with: its callback id, its correlation id, its begin and end.
    """
    again = _without_arguments(error)
    _kept[:] = [again]
    call = (ctypes.c_int64 * 4)()
    library.syncwatch_raise_later(call, threading.main_thread().ident or 0, id(again))
    number, identity, begin, end = call
    return number, identity, begin, end


def _without_arguments(error: BaseException) -> type[BaseException]:
    """Return a class that makes another `error`: Python raises a class, and makes the object without arguments."""
    kind = type(error)
    if kind in _kept:
        # It came out in the next callback, before the program ran on.
        return kind

    def raised_again(self: BaseException) -> None:
        kind.__init__(self, *error.args)

    return type(kind.__name__, (kind,), {"__init__": raised_again, "__module__": kind.__module__})


@dataclass(slots=True)
class Interrupts:
    """Stands behind a callback: Python runs handlers of signals as a function begins, before any `try` of it.

    What they raise there goes to `sys.unraisablehook`. So does what the program's own callbacks raise, which is left as
    it is.
    """

    library: ctypes.CDLL
    on_call: Callable[..., object]
    """The function that CUPTI calls."""
    on_lost: OnLost | None
    _before: Callable[[Any], object] | None = None
    _hook: Callable[[Any], object] | None = None

    def start(self) -> None:
        """Put the hook on."""
        self._before = before = sys.unraisablehook

        def hook(unraisable: Any) -> None:
            if unraisable.exc_value is None or not self._is_ours(unraisable):
                before(unraisable)
                return
            call = raise_later(self.library, unraisable.exc_value)
            if self.on_lost is not None:
                self.on_lost(*call)

        self._hook = sys.unraisablehook = hook

    def _is_ours(self, unraisable: Any) -> bool:
        """Return whether our callback raised it; Python 3.13 names the function in the message alone."""
        return unraisable.object is self.on_call or repr(self.on_call) in (unraisable.err_msg or "")

    def stop(self) -> None:
        """Take the hook off, unless somebody has put another one over it."""
        if sys.unraisablehook is self._hook and self._before is not None:
            sys.unraisablehook = self._before
