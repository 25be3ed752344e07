"""Answers: what is a sensor? It names itself, says what it is blind to, and records between start and stop."""

from __future__ import annotations

from typing import Protocol

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
