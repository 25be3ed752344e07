"""Lets the process that watches tell its supervisor what it found, through a pipe; see `supervisor`."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from dataclasses import dataclass

from syncwatch.cli.supervisor import VARIABLE

_DIE_WITH_PARENT = 1
"""PR_SET_PDEATHSIG of Linux."""
_SIGKILL = 9
_MOST = 20
"""Late sentences: a pipe that nobody reads yet holds 64 KiB, and must never hold up the target."""


@dataclass(slots=True)
class _Pipe:
    """This process's end of the pipe."""

    number: int
    other_end: str
    """Where Linux shows the supervisor's end, from which one may come to this end again."""
    owner: int
    """The id of the process that may write: the child of a fork must not."""
    inode: int
    told: int = 0

    def write(self, line: str) -> None:
        """Write one line, if the number still is the pipe: a target may have closed what it did not open."""
        if os.getpid() != self.owner:
            return
        data = f"{line}\n".encode(errors="backslashreplace")
        # Nothing delivered is exit 3.
        with contextlib.suppress(OSError):
            if not self._is_open():
                self.number = os.open(self.other_end, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            if self._is_open():
                os.write(self.number, data)

    def _is_open(self) -> bool:
        try:
            return os.fstat(self.number).st_ino == self.inode
        except OSError:
            return False


_pipe: _Pipe | None = None


def adopt() -> bool:
    """Return whether this process has a supervisor; what tells of it goes no further, to no child of the target.

    From then on the process ends when its supervisor does, where the system can do that.
    """
    global _pipe
    told = os.environ.pop(VARIABLE, "").split(":")
    if len(told) != 3 or not all(each.isdecimal() for each in told) or os.getppid() != int(told[2]):
        return False
    number, supervisor = int(told[0]), int(told[2])
    try:
        found = os.fstat(number)
        if not stat.S_ISFIFO(found.st_mode):
            return False
        os.set_inheritable(number, False)
        os.set_blocking(number, False)
    except OSError:
        return False
    _pipe = _Pipe(number, f"/proc/{supervisor}/fd/{told[1]}", os.getpid(), found.st_ino)
    _die_with(supervisor)
    return True


def is_supervised() -> bool:
    """Return whether this process has a supervisor and may speak to it."""
    return _pipe is not None and _pipe.owner == os.getpid()


def deliver(code: int) -> None:
    """Tell the supervisor what to end with; nothing where there is none."""
    if _pipe is not None:
        _pipe.write(f"code {code}")


def deliver_late(sentence: str) -> None:
    """Tell the supervisor of a wait seen after the report was made, so that a clean verdict no longer holds."""
    pipe = _pipe
    if pipe is not None and pipe.told < _MOST:
        pipe.told += 1
        text = "".join(each if each.isprintable() else repr(each)[1:-1] for each in sentence)
        pipe.write(f"late {text}")


def _die_with(supervisor: int) -> None:
    """Let the system end this process when its supervisor is killed; nothing where it cannot."""
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    try:
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, _SIGKILL, 0, 0, 0)
    except (OSError, AttributeError):
        return
    if os.getppid() != supervisor:
        # It was killed before the system was asked.
        os._exit(_SIGKILL)
