"""Finds the threads that a test leaves running. What they wait for after it, no test is judged by."""

from __future__ import annotations

import os
import sys
import threading
import time
from types import FrameType

_GRACE_S = 1.0
"""A thread that was told to end does so while it is still watched."""

_BEGINS_S = 0.05
"""One that was just started comes to run Python in this time; until then nobody can tell it from a thread of C."""
_LOOK_S = 0.002

_WAITING = ("threading", "queue")
_PARKED = (
    "concurrent.futures.",
    "multiprocessing.",
    "pytest_timeout",
    "torch._inductor.",
    "torch.utils.data._utils.pin_memory",
    "tqdm.",
)
"""Where threads wait for work that others give them, or only look at a clock."""


class RunningThreads:
    """The threads that run when a test begins."""

    def __init__(self) -> None:
        self._known = _running()
        self._tasks = _tasks()

    def left(self) -> tuple[str, ...]:
        """Return a sentence for each thread that began since then and goes on, after a moment to end in."""
        begun = time.monotonic()
        while self._may_change(time.monotonic() - begun):
            time.sleep(_LOOK_S)
        return tuple(map(_sentence, self._new().values()))

    def _may_change(self, passed_s: float) -> bool:
        """Return whether something that began during the test may yet end, or show that it runs Python."""
        if self._new():
            return passed_s < _GRACE_S
        return passed_s < _BEGINS_S and not _tasks() <= self._tasks

    def _new(self) -> dict[int, threading.Thread | None]:
        frames = sys._current_frames()
        return {
            ident: thread
            for ident, thread in _running().items()
            if self._is_new(ident, thread) and ident in frames and not _is_parked(frames[ident])
        }

    def _is_new(self, ident: int, thread: threading.Thread | None) -> bool:
        # The system gives the number of a thread that has ended to another.
        return ident not in self._known or self._known[ident] is not thread


def _running() -> dict[int, threading.Thread | None]:
    """Return every thread that runs Python, by its number; None is one that `threading` does not know."""
    known = {thread.ident: thread for thread in threading.enumerate()}
    return {ident: known.get(ident) for ident in sys._current_frames()}


def _tasks() -> frozenset[str]:
    """Return the numbers that the system gives the threads of this process; empty where it does not tell."""
    try:
        return frozenset(os.listdir("/proc/self/task"))
    except OSError:
        return frozenset()


def _is_parked(frame: FrameType | None) -> bool:
    while frame is not None and _module(frame) in _WAITING:
        frame = frame.f_back
    return frame is not None and _module(frame).startswith(_PARKED)


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def _sentence(thread: threading.Thread | None) -> str:
    name = "A thread of _thread" if thread is None else f"The thread {thread.name}"
    return (
        f"{name} was still running when the test ended: what it waits for after that is in no report. Let the test "
        "wait for its end, with join() or by shutting down what started it."
    )
