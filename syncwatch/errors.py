"""How syncwatch refuses: one root of errors, a sentence with a next step, and an exit code."""

from __future__ import annotations

EXIT_CLEAN = 0
EXIT_OVER_POLICY = 1
EXIT_USAGE = 2
EXIT_NOT_MEASURED = 3
EXIT_INTERRUPTED = 130
"""128 + SIGINT, what a shell gives."""
EXIT_TERMINATED = 143
"""128 + SIGTERM, likewise."""


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


class SyncError(RuntimeError):
    """The host waited for the GPU inside `syncwatch.guard("disallow")`.

    No `SyncwatchError`: it is raised in the user's own program, at the line that waits, as torch's own debug mode does.

    Attributes:
        code: the cause code, as SW101.
    """

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[object, ...]:
        return (_sync_error, (str(self), self.code))


def _sync_error(message: str, code: str) -> SyncError:
    return SyncError(message, code=code)
