"""Answers: how is a block of one's own code watched? `with syncwatch.watch() as watch:`."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType

from syncwatch.errors import UsageError
from syncwatch.model.finding import Report
from syncwatch.model.session import Environment, Recording, Session
from syncwatch.pipeline import report_of
from syncwatch.sense import forks
from syncwatch.sense.base import Sensed, WatchedDevice
from syncwatch.sense.device import DeviceChoice, open_device

VARIANT = "watched"
"""What the only variant of a watched block is called."""


class watch:  # noqa: N801  # used as `with syncwatch.watch() as watch:`
    """Watches a block of code and reports the lines that made the CPU wait.

    After the block, `report` and `session` hold what was found, also when the block raised. Watches nest.

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
        self._environment: Environment | None = None
        self._forks = 0

    def __enter__(self) -> watch:
        self._device = open_device(self._choice)
        self._stack.callback(self._device.close)
        self._environment = self._device.environment()
        self._forks = forks.forks()
        try:
            watching = self._device.watch if self._prices else self._device.lines
            self._sensed = self._stack.enter_context(watching(VARIANT))
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
        self._stack.__exit__(None, None, None)
        missing = []
        if kind is not None:
            missing.append(f"The run was ended by {kind.__name__}; what came after it is not in the report.")
        self._finished = self._session(device, sensed.recording, missing, unwatched)

    def snapshot(self) -> Session | None:
        """Return what was recorded so far, as a partial session, from any thread; None outside the block."""
        device, sensed = self._device, self._sensed
        if device is None or sensed is None or sensed.snapshot is None or self._finished is not None:
            return None
        missing = ["The process was ended while it ran: no prices, no end."]
        return self._session(device, sensed.snapshot(), missing, device.unwatched())

    def _session(
        self, device: WatchedDevice, recording: Recording | None, missing: list[str], unwatched: tuple[str, ...]
    ) -> Session:
        assert self._environment is not None
        if recording is not None and forks.forks() > self._forks:
            times = forks.forks() - self._forks
            often = "once" if times == 1 else f"{times} times"
            note = f"The process forked {often}; what its children did is not in the report."
            recording = replace(recording, notes=(*recording.notes, note))
        return Session(
            target=self._target,
            device=device.kind,
            environment=self._environment,
            recordings=() if recording is None else (recording,),
            outputs_equal=None,
            complete=not missing,
            missing=tuple(missing),
            unwatched=unwatched,
        )

    @property
    def session(self) -> Session:
        """What was recorded.

        Raises:
            UsageError: inside the block, before it has ended.
        """
        if self._finished is None:
            raise UsageError("The watch has not ended. Read its report after the `with` block.")
        return self._finished

    @property
    def report(self) -> Report:
        """What was found; raises as `session` does."""
        return report_of(self.session)
