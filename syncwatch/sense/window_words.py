"""Hears from outside of the program when a window is to begin or end: by a signal, and by the clock.

A handler of Python runs between two instructions of the main thread, which may hold any lock of ours there. So it only
passes the word on, to a thread that acts on it.
"""

from __future__ import annotations

import math
import os
import queue
import signal
import threading
import time
from collections.abc import Callable
from enum import Enum
from types import FrameType
from typing import Any

from typing_extensions import assert_never

THREAD = "syncwatch window"
"""What the thread is called."""


class Word(Enum):
    """What the thread is told."""

    SIGNAL = "the signal came"
    BEGUN = "the window has begun"
    OVER = "nothing is waited for any more"


class WindowWords:
    """Calls `on_signal` at each signal, and `on_time` when the window has lasted, on a thread of its own.

    Args:
        number: the signal; None for none.
        seconds: how long the window may last; None for any time.
        on_signal: acts on a signal.
        on_time: ends the window.
    """

    def __init__(
        self, number: int | None, seconds: float | None, on_signal: Callable[[], None], on_time: Callable[[], None]
    ) -> None:
        self._number = number
        self._seconds = math.inf if seconds is None else seconds
        self._on_signal = on_signal
        self._on_time = on_time
        self._owner = os.getpid()
        # The only queue of Python that a handler may put into whatever it interrupts.
        self._words: queue.SimpleQueue[Word] = queue.SimpleQueue()
        self._before: Any = None
        self._taken = False
        self._listens = False

    def start(self) -> None:
        """Listen from now on; a signal needs the main thread."""
        self._listens = True
        if self._number is not None:
            self._before = signal.signal(self._number, self._handle)
        if self._number is not None or self._seconds != math.inf:
            threading.Thread(target=self._listen, name=THREAD, daemon=True).start()

    def begun(self) -> None:
        """Let the time of the window run from now on."""
        self._words.put(Word.BEGUN)

    def stop(self) -> None:
        """Listen no more; on the main thread the signal then means what it meant before, unless the program took it."""
        self._words.put(Word.OVER)
        listened, self._listens = self._listens, False
        if self._number is None or not listened:
            return
        self._taken = signal.getsignal(self._number) != self._handle
        if not self._taken and threading.current_thread() is threading.main_thread():
            signal.signal(self._number, self._before)

    def is_taken(self) -> bool:
        """Return whether the program had put a handler of its own in the place of this one when it was stopped."""
        return self._taken

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if os.getpid() == self._owner:
            self._words.put(Word.SIGNAL)
            return
        # In the child of a fork, where nobody listens, it does what it does without a watch.
        signal.signal(number, self._before)
        os.kill(os.getpid(), number)

    def _listen(self) -> None:
        end = math.inf
        while True:
            left = min(max(0.0, end - time.monotonic()), threading.TIMEOUT_MAX)
            try:
                word = self._words.get(timeout=left)
            except queue.Empty:
                if time.monotonic() >= end:
                    self._on_time()
                    end = math.inf
                continue
            if word is Word.SIGNAL:
                self._on_signal()
            elif word is Word.BEGUN:
                end = time.monotonic() + self._seconds
            elif word is Word.OVER:
                return
            else:
                assert_never(word)
