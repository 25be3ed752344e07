"""How threads keep time: the user's own start when they were started, and backward runs in the one that calls it.

On a GPU autograd has a thread for each device. Here it would have a clock of its own, and no line of Python.
"""

from __future__ import annotations

import _thread
import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch

from syncwatch.sense.patching import Patches
from syncwatch.sense.virtual.engine import Engine
from syncwatch.sense.virtual.native.library import calls

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


def patch_backward(patches: Patches) -> None:
    """Run backward in the calling thread while the device is on."""
    graph: Any = torch.autograd.graph
    plain = graph._engine_run_backward
    native = calls()

    def run_backward(outputs: Sequence[Any], *arguments: Any, **named: Any) -> Any:
        native.sw_backward(1)
        try:
            with torch.autograd.set_multithreading_enabled(False):
                return plain(outputs, *arguments, **named)
        finally:
            native.sw_backward(-1)

    for owner in (graph, torch.autograd):
        patches.set(owner, "_engine_run_backward", run_backward)
