"""A block of code is watched and becomes a session, also when it raises or its process ends inside it."""

from __future__ import annotations

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
    """Watches a block of code; after it, `session` holds what was recorded. Watched blocks nest.

    Args:
        device: "auto" (the GPU if there is one, else the virtual device), "cuda" or "virtual".
        target: what the report calls the block.
        prices: False leaves the times out, and with them nearly all that watching costs on CUDA: CUPTI stays off.

    Raises:
        UsageError: if there is no such choice of device.
        NotMeasuredError: on entry, if the device cannot be watched here.
    """

    def __init__(self, device: str = "auto", *, target: str = "watch", prices: bool = True) -> None:
        choices = [choice.value for choice in DeviceChoice]
        if device not in choices:
            raise UsageError(f"There is no device {device!r}. Choose one of {', '.join(choices)}.")
        self._choice = DeviceChoice(device)
        self._target = target
        self._prices = prices
        self._stack = ExitStack()
        self._device: WatchedDevice | None = None
        self._sensed: Sensed | None = None
        self._finished: Session | None = None
        self._children = Children()
        self._threads = ThreadEnds()

    def __enter__(self) -> Self:
        self._device = open_device(self._choice)
        self._stack.callback(self._device.close)
        try:
            self._stack.enter_context(self._children)
            self._stack.enter_context(self._threads)
            watching = self._device.watch if self._prices else self._device.lines
            self._sensed = self._stack.enter_context(watching(_VARIANT))
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        device, sensed = self._device, self._sensed
        if device is None or sensed is None or forks.is_child():
            return
        unwatched = device.unwatched()
        with collector_off():
            self._stack.close()
        missing = []
        if kind is not None:
            missing.append(f"The run was ended by {kind.__name__}; what came after it is not in the report.")
        self._finished = self._session(device, sensed.recording, missing, unwatched)

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
            raise UsageError("The watch has not ended. Read its report after the `with` block.")
        return self._finished
