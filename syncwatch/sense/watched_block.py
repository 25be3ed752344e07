"""A block of code is watched and becomes a session, also when it raises or its process ends inside it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType

from typing_extensions import Self

from syncwatch.compat.tried import newer_than_tried
from syncwatch.errors import UsageError
from syncwatch.model.events import SyncEvent, collector_off
from syncwatch.model.session import DeviceKind, Recording, Session
from syncwatch.sense.base import Sensed, WatchedDevice
from syncwatch.sense.choose_device import DeviceChoice, open_device
from syncwatch.sense.processes import forks
from syncwatch.sense.processes.children import Children
from syncwatch.sense.processes.ends import ThreadEnds

_VARIANT = "watched"
"""What the only variant of a watched block is called."""


class WatchedBlock:
    """Watches a block of code, or what runs between `start` and `stop`; after it, `session` holds what was recorded.

    Watched blocks nest, and may overlap. `start` and `stop` may be called on different threads.

    Args:
        device: "auto" (the GPU if there is one, else the virtual device), "cuda" or "virtual".
        target: what the report calls the block.
        prices: False leaves the times out, and with them nearly all that watching costs on CUDA: CUPTI stays off.

    Raises:
        UsageError: if there is no such choice of device.
        NotMeasuredError: on entry and by `start`, if the device cannot be watched here.
    """

    def __init__(self, device: str = "auto", *, target: str = "watch", prices: bool = True) -> None:
        choices = [choice.value for choice in DeviceChoice]
        if device not in choices:
            raise UsageError(f"There is no device {device!r}. Choose one of {', '.join(choices)}.")
        self._choice = DeviceChoice(device)
        self._target = target
        self._prices = prices
        self._stack = ExitStack()
        self._lock = threading.RLock()
        self._begun = False
        self._ending = False
        self._device: WatchedDevice | None = None
        self._sensed: Sensed | None = None
        self._finished: Session | None = None
        self._children = Children()
        self._threads = ThreadEnds()

    def start(self) -> None:
        """Watch everything from now on, in every thread, until `stop`.

        Raises:
            UsageError: if it was started before.
            NotMeasuredError: if the device cannot be watched here.
        """
        with self._lock:
            if self._begun:
                ended = "has ended, and watches once" if self._ending else "has begun already"
                raise UsageError(f"This watch {ended}. Make another one to watch more.")
            try:
                self._begin(self._opened())
            except BaseException:
                self._stack.close()
                raise
            self._begun = True

    def stop(self) -> None:
        """End the watch, from any thread; then there is a session. Nothing in a process that was forked from it.

        Raises:
            UsageError: if it was not started, or has ended.
        """
        if forks.is_child():
            return
        with self._lock:
            if not self._begun:
                raise UsageError("This watch has not begun. Call its `start()` first.")
            if self._ending:
                raise UsageError("This watch has ended already. Read its report.")
            self._end(())

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if forks.is_child():
            return
        with self._lock:
            if not self._ending:
                self._end(() if kind is None else (ended_by(kind),))

    def _opened(self) -> WatchedDevice:
        """Return the device, from now on open, while it is noted which processes are started and which threads die."""
        self._device = device = open_device(self._choice)
        self._stack.callback(device.close)
        self._stack.enter_context(self._children)
        self._stack.enter_context(self._threads)
        return device

    def _begin(self, device: WatchedDevice) -> None:
        watching = device.watch if self._prices else device.lines
        self._sensed = self._stack.enter_context(watching(_VARIANT))

    def _end(self, missing: Sequence[str]) -> None:
        """End the watch; what the run lacks is `missing`."""
        device, sensed = self._device, self._sensed
        if device is None or sensed is None or forks.is_child() or self._finished is not None:
            return
        self._ending = True
        unwatched = device.unwatched()
        # Everything is taken off, also where the recording could not be made; it can be made again.
        with collector_off(), contextlib.suppress(SystemError):
            self._stack.close()
        recording = _recording_of(sensed)
        lacking = list(missing) if recording is not None else [_UNREAD, *missing]
        self._finished = self._session(device, recording, lacking, unwatched)

    def device_name(self) -> str:
        """Return what the block runs on, in words."""
        if self._device is None or self._device.kind is DeviceKind.VIRTUAL:
            return "the virtual device"
        # The GPU's own name is not known before the block uses it.
        return self._device.environment().gpu or "CUDA"

    def snapshot(self) -> Session | None:
        """Return what was recorded so far, as a partial session, from any thread; None outside the block."""
        device, sensed = self._device, self._sensed
        if device is None or sensed is None or sensed.snapshot is None or self._finished is not None:
            return None
        missing = ["The process was ended while it ran: no prices, no end."]
        return self._session(device, sensed.snapshot(), missing, device.unwatched())

    def call_when_finished(self, call: Callable[[], None]) -> None:
        """Call `call` as soon as there is a session while the program goes on; a plain block ends with it."""

    def watch_until_exit(self, notify: Callable[[SyncEvent | None], None]) -> None:
        """Call `notify` with waits until the process ends, beside the watch; see `WatchedDevice.watch_until_exit`."""
        if self._device is not None:
            self._device.watch_until_exit(notify)

    def end_early(self, missing: Sequence[str]) -> Session:
        """End the watch where the process is about to end without coming back to the end of the block.

        From any thread; but times of a CUDA GPU are known on the main thread alone. Nothing may be watched after it.

        Args:
            missing: what the run lacks, a sentence each; empty where it is complete.

        Raises:
            UsageError: outside the block.
        """
        device, sensed = self._device, self._sensed
        if device is None or sensed is None or sensed.snapshot is None or self._finished is not None:
            raise UsageError("Nothing is watched any more. End a watch early inside its block.")
        self._children.look()
        unwatched = device.unwatched()
        if device.kind is DeviceKind.CUDA and threading.current_thread() is threading.main_thread():
            self._stack.close()
            recording = sensed.recording
        else:
            recording = sensed.snapshot()
        self._finished = self._session(device, recording, list(missing), unwatched)
        return self._finished

    def _session(
        self, device: WatchedDevice, recording: Recording | None, missing: list[str], unwatched: tuple[str, ...]
    ) -> Session:
        environment = device.environment()
        if recording is not None:
            recording = replace(recording, notes=(*recording.notes, *self._children.notes()))
        return Session(
            target=self._target,
            device=device.kind,
            environment=environment,
            recordings=() if recording is None else (recording,),
            outputs_equal=None,
            complete=not missing,
            missing=tuple(missing),
            unwatched=(*unwatched, *self._children.unwatched(), *self._threads.unwatched()),
            notes=newer_than_tried(environment.torch, environment.triton),
        )

    @property
    def has_ended(self) -> bool:
        """Whether the block has ended, and there is a session."""
        return self._finished is not None

    @property
    def session(self) -> Session:
        """What was recorded.

        Raises:
            UsageError: inside the block, before it has ended.
        """
        if self._finished is None:
            raise UsageError("The watch has not ended. Read its report after the `with` block, or after `stop()`.")
        return self._finished


_TRIES = 10
_UNREAD = "What was recorded could not be read, since the program looked through its own heap meanwhile. Run it again."


def _recording_of(sensed: Sensed) -> Recording | None:
    """Return what a watch recorded that has ended; None where it cannot be read.

    CPython fails with a SystemError where one thread makes a tuple and another looks through the heap, as
    `gc.get_objects` and the end of a target do: the recording is made again.
    """
    if sensed.recording is not None or sensed.snapshot is None:
        return sensed.recording
    for _ in range(_TRIES):
        with contextlib.suppress(SystemError):
            return sensed.snapshot()
    return None


def ended_by(kind: type[BaseException]) -> str:
    """Return what a run lacks that an exception ended."""
    return f"The run was ended by {kind.__name__}; what came after it is not in the report."
