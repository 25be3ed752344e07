"""What a run needs of whoever started it; the command line gives it a terminal under a supervisor."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol


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

    def deliver(self, code: int) -> None:
        """Tell that process the exit code."""

    def deliver_late(self, sentence: str) -> None:
        """Tell that process what came after the report."""
