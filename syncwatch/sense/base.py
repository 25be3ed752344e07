"""Answers: what is a sensor, and what is a device that can be watched?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

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


class WatchedDevice(Protocol):
    """A device with its sensors: the GPU of this machine, or the virtual one."""

    kind: DeviceKind

    def environment(self) -> Environment:
        """Return what the figures belong to."""

    def sense(self, variant: str, work: Callable[[], Sequence[int]]) -> Iterator[Recording]:
        """Run the same steps in as many passes as the device needs, and yield what they gave.

        A pass that is cut short by an exception yields what there is, and raises on when the iterator is asked again.

        Args:
            variant: the name of what runs.
            work: runs the steps, the same ones at every call, and returns their times in ns.
        """

    def watch(self, variant: str) -> AbstractContextManager[list[Recording]]:
        """Watch everything inside once; the yielded list holds the recording when the block has ended, however."""

    def close(self) -> None:
        """Leave nothing patched."""
