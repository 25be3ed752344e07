"""Keeps what there is of a run whose process may be killed: the run file, written now and then while it goes on."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Union

from syncwatch.app.report import write_run
from syncwatch.model.session import Session
from syncwatch.pipeline import analysed
from syncwatch.sense.processes.forks import is_child

_FIRST_S = 1.0
"""The first file is written after a second, each later one after twice the time, so that long runs hardly notice."""


_SAME_S = 0.5

_Handler = Union[Callable[[int, "FrameType | None"], object], int, None]  # noqa: UP007  # evaluated on Python 3.10


class Terminated(KeyboardInterrupt):
    """SIGTERM asked the process to end."""


class Checkpoints:
    """Writes `snapshot()` to `path` before the run has ended; nothing where there is no path."""

    def __init__(self, path: Path | None, snapshot: Callable[[], Session | None]) -> None:
        self._path = path
        self._snapshot = snapshot
        self._ended = threading.Event()
        self._wake = threading.Event()
        self._written: Session | None = None
        self._writing = threading.Lock()

    @contextlib.contextmanager
    def periodically(self) -> Iterator[None]:
        """Write from a thread of its own while the block runs."""
        thread = threading.Thread(target=self._write_until_ended, name="syncwatch checkpoints", daemon=True)
        if self._path is not None:
            thread.start()
        try:
            yield
        finally:
            self._end()
            if thread.is_alive() and not is_child():
                thread.join()

    def _write_until_ended(self) -> None:
        pause = _FIRST_S
        while True:
            hurried = self._wake.wait(pause)
            # Before the look at the end, which may come right now and wake once.
            self._wake.clear()
            if self._ended.is_set():
                return
            # A tuple that is being made fails so in CPython where the target looks through the heap: the next is tried.
            with contextlib.suppress(SystemError):
                self.write()
            pause *= 1 if hurried else 2

    def hurry(self) -> None:
        """Let the next writing be now, on the thread that writes: there is more than there will be for long."""
        self._wake.set()

    def _end(self) -> None:
        self._ended.set()
        self._wake.set()

    def write(self) -> None:
        """Write now."""
        with self._writing:
            session = None if self._ended.is_set() else self._snapshot()
            # One that has ended is the same each time.
            if self._path is not None and session is not None and session is not self._written:
                # A full disk must not end the run; the last writing at its end says what is wrong.
                with contextlib.suppress(OSError):
                    write_run(analysed(session), self._path)
                    self._written = session

    def close(self) -> None:
        """Write nothing more; one that is being written is waited for."""
        self._end()
        with self._writing:
            pass


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, so that a partial report is kept.

    Who ends a whole group of processes ends supervisor and watched process, and the supervisor passes it on: a second
    signal of one kind within half a second is the same one.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: dict[int, float] = {}
    before: dict[int, _Handler] = {}
    ended = False

    def as_before(number: int) -> None:
        signal.signal(number, before[number])
        os.kill(os.getpid(), number)

    def on_signal(number: int, _frame: FrameType | None) -> None:
        if is_child():
            # A pool ends its workers so.
            as_before(number)
            return
        now = time.monotonic()
        if now - received.get(number, -_SAME_S) < _SAME_S:
            return
        received[number] = now
        if ended:
            as_before(number)
            return
        raise Terminated if number == signal.SIGTERM else KeyboardInterrupt

    kinds = [signal.SIGTERM]
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        kinds.append(signal.SIGINT)
    for kind in kinds:
        before[kind] = signal.signal(kind, on_signal)
    try:
        yield
    finally:
        ended = True
        for kind in kinds:
            # After a signal its copy may still come.
            if signal.getsignal(kind) is on_signal and kind not in received:
                signal.signal(kind, before[kind])
