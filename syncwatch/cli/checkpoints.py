"""Answers: what is left of a run whose process is killed? The run file, written now and then while it goes on."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from syncwatch.model.session import Session
from syncwatch.pipeline import write_run
from syncwatch.sense.forks import is_child

_FIRST_S = 1.0
"""The first file is written after a second, each later one after twice the time, so that long runs hardly notice."""


class Terminated(KeyboardInterrupt):
    """The process was told to end by SIGTERM."""


class Checkpoints:
    """Writes `snapshot()` to `path` before the run has ended; nothing where there is no path."""

    def __init__(self, path: Path | None, snapshot: Callable[[], Session | None]) -> None:
        self._path = path
        self._snapshot = snapshot

    @contextlib.contextmanager
    def every_now_and_then(self) -> Iterator[None]:
        """Write from a thread of its own while the block runs."""
        ended = threading.Event()
        thread = threading.Thread(target=self._write_until, args=(ended,), name="syncwatch checkpoints", daemon=True)
        if self._path is not None:
            thread.start()
        try:
            yield
        finally:
            ended.set()
            if thread.is_alive() and not is_child():
                thread.join()

    def _write_until(self, ended: threading.Event) -> None:
        pause = _FIRST_S
        while not ended.wait(pause):
            self.write()
            pause *= 2

    def write(self) -> None:
        """Write now."""
        session = self._snapshot()
        if self._path is not None and session is not None:
            # A full disk must not end the run; the last writing at its end says what is wrong.
            with contextlib.suppress(OSError):
                write_run(session, self._path)


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, so that a partial report is kept."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, on_signal)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
