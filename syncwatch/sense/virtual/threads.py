"""Answers: how are the user's own threads watched? Each gets the modes when it starts, whatever starts it.

torch keeps its modes for each thread. Threads that begin elsewhere, in C or before the device was put on, have none;
see `strangers`.
"""

from __future__ import annotations

import _thread
import functools
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from syncwatch.sense.virtual.engine import Engine
from syncwatch.sense.virtual.patching import Patches

_STARTERS = (
    (_thread, "start_new_thread"),
    (_thread, "start_new"),
    (_thread, "start_joinable_thread"),
    # What `threading.Thread` starts with, taken from `_thread` when it was imported: until 3.12, and since 3.13.
    (threading, "_start_new_thread"),
    (threading, "_start_joinable_thread"),
)


def patch(patches: Patches, engine: Engine, modes: Callable[[], AbstractContextManager[Any]]) -> None:
    """Let every thread that Python starts from now on run with `modes`, its clock set to its parent's."""

    def watched(plain: Callable[..., Any]) -> Callable[..., Any]:
        def start(function: Any, *more: Any, **named: Any) -> Any:
            if not callable(function):
                return plain(function, *more, **named)
            born = engine.now_ns()

            def run(*args: Any, **kwargs: Any) -> None:
                if not engine.active:
                    function(*args, **kwargs)
                    return
                engine.clock.work(engine.state().ident, max(0, born - engine.now_ns()))
                with modes():
                    function(*args, **kwargs)

            # An error in it is told of under its own name.
            functools.update_wrapper(run, function)
            return plain(run, *more, **named)

        return start

    for owner, name in _STARTERS:
        if hasattr(owner, name):
            patches.set(owner, name, watched(getattr(owner, name)))
