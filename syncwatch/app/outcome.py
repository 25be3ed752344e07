"""What a run has of whoever started it, and what it hands back: a console to speak to, and how the run ended."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from syncwatch.app.checkpoints import Terminated
from syncwatch.errors import EXIT_CLEAN, EXIT_INTERRUPTED, EXIT_NOT_MEASURED, EXIT_TERMINATED
from syncwatch.model.session import Session


class Console(Protocol):
    """How a run speaks, and how it hands over what it found."""

    def announce(self, sentence: str) -> None:
        """Say where the run is."""

    def print_user_traceback(self, error: BaseException) -> None:
        """Show what the target raised, as its own run would have shown it."""

    def progress(self, title: str) -> AbstractContextManager[Callable[[str, int, int], None]]:
        """Give a function that shows the phase, the steps done and the steps to do."""

    def only_documents(self, wanted: bool) -> AbstractContextManager[None]:
        """Keep stdout for a report alone where that is wanted, so that the watched code prints to stderr."""

    def settle(self) -> None:
        """Write out what the watched code has printed so far."""

    def exit_code_of(self, work: Callable[[], int]) -> int:
        """Return the exit code of `work`, in which every refusal becomes a sentence and its exit code."""

    def is_supervised(self) -> bool:
        """Return whether another process waits for what this one found."""

    def send_exit_code(self, code: int) -> None:
        """Tell that process the exit code."""

    def send_late_wait(self, sentence: str) -> None:
        """Tell that process what came after the report."""


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How a run ended: what was recorded, and what else the user must be told."""

    session: Session
    exit_code: int = EXIT_CLEAN
    message: str | None = None


Finish = Callable[[RunOutcome], int]
"""Reports, and returns the exit code: what a command does with its run."""


def interrupted(session: Session, error: KeyboardInterrupt) -> RunOutcome:
    """Return how a run ended that Ctrl-C or SIGTERM cut short."""
    terminated = isinstance(error, Terminated)
    said = "the report has all of the window, which had ended" if session.complete else "the report is partial"
    message = f"{'Terminated' if terminated else 'Interrupted'}: {said}."
    return RunOutcome(session, EXIT_TERMINATED if terminated else EXIT_INTERRUPTED, message)


def ended(name: str, session: Session, how: str) -> RunOutcome:
    """Return how a run of the target `name` ended that did not end well, as `raised ValueError`."""
    advice = "Make it run to its end, then watch it again."
    if how.endswith("OutOfMemoryError"):
        advice = "Give it less to do, or a GPU with more memory, then watch it again."
    return RunOutcome(session, EXIT_NOT_MEASURED, f"{name} {how}: the report covers what ran before. {advice}")
