"""Answers: how are the user's own threads watched? Each gets the modes when it starts."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from syncwatch.sense.virtual.engine import Engine
from syncwatch.sense.virtual.patching import Patches


def patch(patches: Patches, engine: Engine, modes: Callable[[], AbstractContextManager[Any]]) -> None:
    """Let every thread that starts from now on run with `modes`, its clock set to its parent's."""
    plain_start = threading.Thread.start

    def start(self: threading.Thread) -> None:
        plain_run = self.run
        born = engine.now_ns()

        def run() -> None:
            if not engine.active:
                plain_run()
                return
            engine.clock.work(engine.state().ident, max(0, born - engine.now_ns()))
            with modes():
                plain_run()

        self.run = run  # type: ignore[method-assign]  # shadows the class's method for this thread only
        plain_start(self)

    patches.set(threading.Thread, "start", start)
