"""Measures what each of many calls does on one device, for benchmarks that compare devices.

The virtual device is asked for through `syncwatch.watch` alone, as a user would.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch

import syncwatch
from syncwatch.bench.probing.measured import Measured, ProbedCall, _measured, measure
from syncwatch.model.session import Environment, Recording
from syncwatch.sense.base import WatchedDevice
from syncwatch.sense.choose_device import DeviceChoice, open_device


class Stepped:
    """A device on which calls are measured, one a step; `opened` makes it."""

    def __init__(self, device: WatchedDevice | None) -> None:
        self.device = device
        self.name = "virtual" if device is None else "cuda"

    @contextlib.contextmanager
    def recorded(self, take: Callable[[Recording], None]) -> Iterator[None]:
        """Record the block, whose steps are `syncwatch.step()`, and pass the recording to `take`, also if it raised."""
        if self.device is not None:
            sensed = None
            try:
                with self.device.watch("watched", times=False) as sensed:
                    yield
            finally:
                if sensed is not None and sensed.recording is not None:
                    take(sensed.recording)
            return
        watch = syncwatch.watch("virtual")
        try:
            with watch:
                yield
        finally:
            if watch.has_ended:
                take(watch.session.recordings[0])

    def environment(self) -> Environment:
        """Return the versions of torch and the others, and the GPU."""
        if self.device is not None:
            return self.device.environment()
        with syncwatch.watch("virtual") as watch:
            torch.zeros(1, device="cuda")
        return watch.session.environment

    def measure(self, calls: list[ProbedCall]) -> tuple[dict[str, Measured], dict[str, str]]:
        """Return what each call did after one warm-up, and for calls that raised, the error."""
        if self.device is not None:
            return measure(calls, self.device)
        failed: dict[str, str] = {}
        runnable = [each for each in calls if self._warmed(each, failed)]
        found: list[Recording] = []
        ran: list[ProbedCall] = []
        with self.recorded(found.append):
            for call in runnable:
                act = call.prepare()
                torch.cuda.synchronize()
                with syncwatch.step():
                    act()
                ran.append(call)
        return {call.name: _measured(found[0], index, None) for index, call in enumerate(ran)}, failed

    def _warmed(self, call: ProbedCall, failed: dict[str, str]) -> bool:
        try:
            act = call.prepare()
            torch.cuda.synchronize()
            act()
        except Exception as error:
            failed[call.name] = why(error)
            return False
        return True


def why(error: BaseException) -> str:
    """Return the name of an error and its first line."""
    said = str(error).strip()
    return f"{type(error).__name__}: {said.splitlines()[0][:300] if said else ''}"


@contextlib.contextmanager
def opened(choice: DeviceChoice) -> Iterator[Stepped]:
    """Open a device for the block."""
    if choice is DeviceChoice.VIRTUAL or (choice is DeviceChoice.AUTO and not torch.cuda.is_available()):
        with syncwatch.watch("virtual"):
            yield Stepped(None)
        return
    with contextlib.closing(open_device(DeviceChoice.CUDA)) as device:
        yield Stepped(device)
