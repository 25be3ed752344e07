"""How the user's own threads keep time: each starts when it was started, whatever starts it."""

from __future__ import annotations

import _thread
import functools
import threading
from collections.abc import Callable
from typing import Any

from syncwatch.sense.patching import Patches
from syncwatch.sense.virtual.engine import Engine

_STARTERS = (
    (_thread, "start_new_thread"),
    (_thread, "start_new"),
    (_thread, "start_joinable_thread"),
    # What `threading.Thread` starts with, taken from `_thread` when it was imported: until 3.12, and since 3.13.
    (threading, "_start_new_thread"),
    (threading, "_start_joinable_thread"),
)


def patch(patches: Patches, engine: Engine) -> None:
    """Set the clock of every thread that Python starts from now on to its parent's."""

    def timed(plain: Callable[..., Any]) -> Callable[..., Any]:
        def start(function: Any, *more: Any, **named: Any) -> Any:
            if not callable(function):
                return plain(function, *more, **named)
            born = engine.now_ns()

            def run(*args: Any, **kwargs: Any) -> None:
                if engine.active:
                    engine.clock.work(max(0, born - engine.now_ns()))
                function(*args, **kwargs)

            # An error in it is told of under its own name.
            functools.update_wrapper(run, function)
            return plain(run, *more, **named)

        return start

    for owner, name in _STARTERS:
        if hasattr(owner, name):
            patches.set(owner, name, timed(getattr(owner, name)))
