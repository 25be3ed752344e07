"""How a run ended, and what the user must be told of it beside the report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from syncwatch.app.checkpoints import Terminated
from syncwatch.errors import EXIT_CLEAN, EXIT_INTERRUPTED, EXIT_NOT_MEASURED, EXIT_TERMINATED
from syncwatch.model.session import Session


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended: what was recorded, and what else the user must be told."""

    session: Session
    exit_code: int = EXIT_CLEAN
    message: str | None = None


Finish = Callable[[Outcome], int]
"""Reports, and returns the exit code: what a command does with its run."""


def interrupted(session: Session, error: KeyboardInterrupt) -> Outcome:
    """Return how a run ended that Ctrl-C or SIGTERM cut short."""
    if isinstance(error, Terminated):
        return Outcome(session, EXIT_TERMINATED, "Terminated: the report is partial.")
    return Outcome(session, EXIT_INTERRUPTED, "Interrupted: the report is partial.")


def ended(name: str, session: Session, how: str) -> Outcome:
    """Return how a run of the target `name` ended that did not end well, as `raised ValueError`."""
    advice = "Make it run to its end, then watch it again."
    if how.endswith("OutOfMemoryError"):
        advice = "Give it less to do, or a GPU with more memory, then watch it again."
    return Outcome(session, EXIT_NOT_MEASURED, f"{name} {how}: the report covers what ran before. {advice}")
