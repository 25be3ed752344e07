"""Answers: how does syncwatch refuse? One root, a sentence with a next step, and an exit code."""

from __future__ import annotations

EXIT_CLEAN = 0
EXIT_OVER_POLICY = 1
EXIT_USAGE = 2
EXIT_NOT_MEASURED = 3
EXIT_INTERRUPTED = 130
"""128 + SIGINT, what a shell gives."""


class SyncwatchError(Exception):
    """A refusal that a person reads: one sentence, with a next step.

    Attributes:
        exit_code: what the process ends with when the CLI catches it.
    """

    exit_code = EXIT_USAGE


class UsageError(SyncwatchError):
    """What was asked for cannot be; exit code 2."""


class NotMeasuredError(SyncwatchError):
    """The run could not be measured; exit code 3, never 0."""

    exit_code = EXIT_NOT_MEASURED


class SessionError(SyncwatchError):
    """A file that should hold a session does not; exit code 2."""
