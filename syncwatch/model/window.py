"""The window of a run: the part of a program that is recorded, while the rest of it runs unwatched."""

from __future__ import annotations

import math
import signal
from dataclasses import dataclass

from syncwatch.errors import UsageError

_SIGNALS = ("SIGUSR1", "SIGUSR2")
"""Those that mean nothing to the system, a terminal or Python."""


@dataclass(frozen=True, slots=True)
class WindowRequest:
    """When a window is to begin and to end; None where that does not matter.

    Without `skip_steps` and `signal` it begins with the program. Of several ends the first one counts, and the end of
    the program is always one.
    """

    skip_steps: int | None = None
    """It begins with the step of this number, the first being 0."""
    for_steps: int | None = None
    """It ends when so many steps that began in it have ended."""
    seconds: float | None = None
    """It ends so many seconds after it began, by the host's clock."""
    signal: int | None = None
    """The first signal of this number begins it, the second ends it."""

    def begins_with_program(self) -> bool:
        """Return whether nothing is waited for."""
        return self.skip_steps is None and self.signal is None


def window_request(
    skip_steps: int | None, for_steps: int | None, seconds: float | None, signal_name: str | None
) -> WindowRequest | None:
    """Return the window that was asked for; None where the whole program is.

    Raises:
        UsageError: if a number is out of range, there is no such signal, or two ask for the beginning.
    """
    if skip_steps is None and for_steps is None and seconds is None and signal_name is None:
        return None
    if skip_steps is not None and signal_name is not None:
        raise UsageError("--skip-steps and --signal both say when the window begins. Give one of them.")
    if seconds is not None and not (math.isfinite(seconds) and seconds > 0):
        raise UsageError(f"--seconds must be finite and above 0, but is {seconds:g}.")
    number = None if signal_name is None else _signal(signal_name)
    return WindowRequest(skip_steps, for_steps, seconds, number)


def _signal(name: str) -> int:
    full = f"SIG{name.upper().removeprefix('SIG')}"
    known = getattr(signal, full, None)
    if full not in _SIGNALS or known is None:
        raise UsageError(f"--signal takes USR1 or USR2, and not {name!r}: the others mean something else.")
    return int(known)


@dataclass(frozen=True, slots=True)
class RunWindow:
    """Which part of the program was recorded."""

    start_ns: int
    """When it began, in ns after the start of the program, by the host's clock; on the virtual device too."""
    end_ns: int
    """When it ended, likewise."""
    first_step: int | None
    """The number of the first step that was recorded, among all that ran, from 0; None where it has none."""
    last_step: int | None

    def words(self) -> str:
        """Return the sentence that a report has of it."""
        times = f"from {_seconds(self.start_ns)} to {_seconds(self.end_ns)} after the start"
        if self.first_step is None or self.last_step is None:
            return f"A window of the program was recorded: {times}."
        one = self.first_step == self.last_step
        steps = f"step {self.first_step}" if one else f"steps {self.first_step} to {self.last_step}"
        return f"A window of the program was recorded: {steps} of those that ran, {times}."


def _seconds(ns: int) -> str:
    """Return `ns` in seconds, to the millisecond where that can matter."""
    return f"{ns / 1e9:,.1f} s" if ns >= 10**10 else f"{ns / 1e9:.3f} s"
