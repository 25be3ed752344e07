"""A program runs, and only a window of it is watched: some of its steps, some seconds, or what is between two signals.

Outside of the window nothing records, and on CUDA nothing is attached. The virtual device is on from the beginning to
the end, since the program's tensors are on it.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType

from typing_extensions import Self

from syncwatch.errors import SyncwatchError
from syncwatch.model.events import SyncEvent, collector_off
from syncwatch.model.session import Recording, Session
from syncwatch.model.window import RunWindow, WindowRequest
from syncwatch.sense import active
from syncwatch.sense.base import WatchedDevice
from syncwatch.sense.choose_device import open_device
from syncwatch.sense.processes import forks
from syncwatch.sense.watched_block import WatchedBlock, ended_by
from syncwatch.sense.window_words import WindowWords


class WindowedBlock(WatchedBlock):
    """Runs a program, and watches a window of it; `session` holds what was recorded there.

    Args:
        device: as in `WatchedBlock`.
        target: likewise.
        prices: likewise.
        window: when it begins and ends.
        now_ns: the clock that says when it did.

    Raises:
        UsageError: if there is no such choice of device.
        NotMeasuredError: on entry, if there is no such device; at the end, if the window could not be watched.
    """

    def __init__(
        self,
        device: str,
        *,
        target: str,
        prices: bool = True,
        window: WindowRequest,
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        super().__init__(device, target=target, prices=prices)
        self._asked = window
        self._now_ns = now_ns
        self._program = ExitStack()
        """What is on while the program runs; what ends with the window, `WatchedBlock` holds."""
        self._words = WindowWords(window.signal, window.seconds, self._on_signal, self._end_between_steps)
        self._steps = _Steps(window.for_steps)
        self._start_ns = 0
        self._opened_ns = 0
        self._closed_ns: int | None = None
        self._ends_with_program = False
        self._failed: SyncwatchError | None = None
        self._tell_finished: Callable[[], None] = _nobody

    def __enter__(self) -> Self:
        with self._lock:
            self._start_ns = self._now_ns()
            try:
                self._open_program()
                if self._asked.begins_with_program():
                    self._begin_window()
                if self._failed is not None:
                    raise self._failed
            except BaseException:
                self._close_program()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if forks.is_child():
            return
        missing = () if kind is None else (ended_by(kind),)
        with self._lock:
            self._stop_listening()
            if self._finished is None:
                self._end_with_program(missing)
            elif kind is not None and not issubclass(kind, KeyboardInterrupt):
                self._finished = _cut_short(self._finished, missing)
            self._close_program()
        if self._failed is not None:
            raise self._failed

    def call_when_finished(self, call: Callable[[], None]) -> None:
        """Call `call` as soon as the window has ended, on the thread that ended it."""
        self._tell_finished = call

    def snapshot(self) -> Session | None:
        """Return what was recorded so far: a partial session until the window has ended, then the whole one."""
        finished, device = self._finished, self._device
        if finished is not None or device is None:
            return finished
        if self._sensed is None:
            return self._nothing(device, ("The process was ended while it ran, before the window began.",))
        return super().snapshot()

    def watch_until_exit(self, notify: Callable[[SyncEvent | None], None]) -> None:
        """Notify of waits from now on where the window lasts as long as the program; else they lie behind it."""
        if self._sensed is not None and self._finished is None:
            super().watch_until_exit(notify)

    def end_early(self, missing: Sequence[str]) -> Session:
        """End the watch where the process is about to end; see `WatchedBlock.end_early`."""
        with self._lock:
            self._stop_listening()
            if self._failed is not None:
                raise self._failed
            if self._finished is not None:
                self._finished = _cut_short(self._finished, missing)
            elif self._sensed is None:
                self._end_with_program(missing)
            else:
                self._closes(with_program=True)
                super().end_early(missing)
            return self.session

    def step_begins(self) -> int | None:
        """Return the number of a step that the program begins; the window begins with it where that was asked."""
        if forks.is_child():
            return None
        with self._lock:
            if self._steps.begun == self._asked.skip_steps:
                self._begin_window()
            return self._steps.begins()

    def step_ended(self, number: int) -> None:
        """Note that a step has ended; the window ends with it where that was asked."""
        if forks.is_child():
            return
        with self._lock:
            if self._steps.ended(number):
                self._end_window()

    def _open_program(self) -> None:
        # Beside the one of the window, which shares it: the tensors are on it before and after too.
        self._program.callback(open_device(self._choice).close)
        self._opened()
        self._children.program_goes_on = True
        active.count_steps(self)
        self._words.start()

    def _close_program(self) -> None:
        self._stop_listening()
        with collector_off():
            self._stack.close()
            self._program.close()

    def _stop_listening(self) -> None:
        self._words.stop()
        active.count_steps(None)

    def _on_signal(self) -> None:
        with self._lock:
            if self._sensed is None:
                self._begin_window()
            else:
                self._end_between_steps()

    def _end_between_steps(self) -> None:
        """End the window with the steps that run now, since a step that is cut would be none, and its waits outside."""
        with self._lock:
            if not self._steps.ends_soon():
                self._end_window()

    def _begin_window(self) -> None:
        device = self._device
        if device is None or self._sensed is not None or self._finished is not None or self._failed is not None:
            return
        self._steps.window_begins()
        self._opened_ns = self._now_ns()
        try:
            self._begin(device)
        except SyncwatchError as error:
            # Raised at the end: here it would be the program's.
            self._failed = error
            return
        self._words.begun()

    def _end_window(self) -> None:
        with self._lock:
            if self._sensed is None or self._finished is not None or forks.is_child():
                return
            self._closes(with_program=False)
            self._end(())
        self._tell_finished()

    def _end_with_program(self, missing: Sequence[str]) -> None:
        device = self._device
        if device is None:
            return
        if self._sensed is None:
            self._finished = self._nothing(device, (self._never(), *missing))
            return
        self._closes(with_program=True)
        self._end(missing)

    def _closes(self, *, with_program: bool) -> None:
        self._closed_ns = self._now_ns()
        self._ends_with_program = with_program
        self._children.program_goes_on = not with_program

    def _nothing(self, device: WatchedDevice, missing: Sequence[str]) -> Session:
        return self._session(device, None, list(missing), device.unwatched())

    def _session(
        self, device: WatchedDevice, recording: Recording | None, missing: list[str], unwatched: tuple[str, ...]
    ) -> Session:
        session = super()._session(device, recording, missing, unwatched)
        if recording is None:
            return session
        return replace(session, window=self._window(recording), notes=(*session.notes, *self._ended_early(recording)))

    def _window(self, recording: Recording) -> RunWindow:
        closed = self._closed_ns if self._closed_ns is not None else self._now_ns()
        numbers = [self._steps.first + step.index for step in recording.steps]
        return RunWindow(
            self._opened_ns - self._start_ns,
            closed - self._start_ns,
            min(numbers, default=None),
            max(numbers, default=None),
        )

    def _ended_early(self, recording: Recording) -> Iterator[str]:
        asked = self._asked
        if not self._ends_with_program:
            return
        if asked.for_steps is not None:
            yield f"The program ended before the window did: {len(recording.steps)} of its {asked.for_steps} steps ran."
        elif asked.seconds is not None:
            yield f"The program ended before the window did, which was to last {asked.seconds:g} s."

    def _never(self) -> str:
        number = self._asked.signal
        if number is None:
            return (
                f"The window never began: it begins with step {self._asked.skip_steps}, the first being 0, and "
                f"{_counted(self._steps.begun)}. Mark each with `with syncwatch.step():`, or skip fewer."
            )
        name = signal.Signals(number).name
        if self._words.is_taken():
            return (
                f"The window never began: the program has a handler of its own for {name}, which took its place. "
                "Choose the other signal."
            )
        return f"The window never began: no {name} came. Send one with `kill -{name.removeprefix('SIG')}` and the PID."


class _Steps:
    """Counts the steps that the program marks, and those of the window.

    Args:
        for_steps: how many the window is to have; None for any number.
    """

    def __init__(self, for_steps: int | None) -> None:
        self.begun = 0
        self._running: set[int] = set()
        self._last: set[int] | None = None
        """Those that the window ends with, of which some run still; None while its end is not asked for."""
        self.first = 0
        """The number of the first that began in the window."""
        self._wanted = for_steps
        self._ended: int | None = None
        """How many of the wanted ones have ended; None before the window."""

    def begins(self) -> int:
        """Return the number of a step that begins."""
        self._running.add(self.begun)
        self.begun += 1
        return self.begun - 1

    def ends_soon(self) -> bool:
        """Return whether steps of the window run now; it is to end with the last of them."""
        self._last = {number for number in self._running if number >= self.first}
        return bool(self._last)

    def window_begins(self) -> None:
        """Count those that begin from now on as the window's."""
        self.first, self._ended = self.begun, 0

    def ended(self, number: int) -> bool:
        """Note that the step `number` has ended, and return whether it was the last that the window is to have."""
        self._running.discard(number)
        if self._last is not None:
            self._last.discard(number)
            return not self._last
        if self._ended is None or self._wanted is None or not self.first <= number < self.first + self._wanted:
            return False
        self._ended += 1
        return self._ended == self._wanted


def _counted(steps: int) -> str:
    return "no step was marked" if not steps else f"{steps} {'step was' if steps == 1 else 'steps were'} marked"


def _cut_short(session: Session, missing: Sequence[str]) -> Session:
    """Return `session` with what the program did not come to after the window."""
    return replace(session, complete=False, missing=(*session.missing, *missing)) if missing else session


def _nobody() -> None:
    return None
