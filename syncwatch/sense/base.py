"""The interfaces of a sensor, which sees the host wait, and of a device that can be watched."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from syncwatch.model.events import SyncEvent
from syncwatch.model.session import DeviceKind, Environment, Recording
from syncwatch.sense.recorder import Recorder


class Sensor(Protocol):
    """Something that sees the host wait."""

    name: str
    sees: str
    """One phrase, for `syncwatch doctor`."""
    blind_to: tuple[str, ...]
    """What it cannot see, one phrase each."""

    def unavailable(self) -> str | None:
        """Return why it cannot run here, with a next step, or None where it can."""

    def start(self, recorder: Recorder) -> None:
        """Begin to record into `recorder`.

        Raises:
            NotMeasuredError: if it cannot run here.
        """

    def stop(self) -> None:
        """End, and leave nothing patched; safe after a failed `start`."""


@dataclass(slots=True)
class Sensed:
    """One variant as far as it was watched."""

    variant: str
    recording: Recording | None = None
    """None until the block has ended."""
    snapshot: Callable[[], Recording] | None = None
    """Gives what there is so far, without times, from any thread while the block runs."""


class WatchedDevice(Protocol):
    """A device with its sensors: the GPU of this machine, or the virtual one."""

    kind: DeviceKind

    def environment(self) -> Environment:
        """Return what the figures belong to."""

    def watch(self, variant: str, *, times: bool = True) -> AbstractContextManager[Sensed]:
        """Watch lines and times of everything inside.

        What it yields holds the recording when the block has ended, however.

        Args:
            variant: what the recording is called.
            times: False leaves out what the GPU did, and with it what each launch costs more.
        """

    def lines(self, variant: str) -> AbstractContextManager[Sensed]:
        """Watch the lines of everything inside and no more, at next to no cost."""

    def watch_until_exit(self, notify: Callable[[SyncEvent | None], None]) -> None:
        """Call `notify` with every wait until the process ends, and with None at other work, from any thread.

        For what the watched process does while Python ends. Nothing is recorded and nothing taken off again.
        """

    def used(self) -> int | None:
        """Return a count of what was done on the device so far; None where nothing counts it."""

    def unwatched(self) -> tuple[str, ...]:
        """Return what took part so far and could not be watched, a sentence each."""

    def close(self) -> None:
        """Leave nothing patched."""
