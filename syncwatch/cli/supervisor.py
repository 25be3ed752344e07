"""The process that the shell started, the one that it starts to watch, and what that one tells it.

Python code can end its process without anything of Python running again: `_exit` of C, `abort`, a segmentation fault,
another program in its place. So the exit code is not what the watched process ends with, but what it *delivers* through
a pipe when it has judged; a process that ends without delivering has measured nothing.

Nothing is imported here but what Python has loaded anyway: this is the time that every `run` and `gate` pays twice.
"""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from syncwatch.errors import EXIT_CLEAN, EXIT_INTERRUPTED, EXIT_NOT_MEASURED, EXIT_TERMINATED

VARIABLE = "SYNCWATCH_SUPERVISOR"
"""Tells the watching process the numbers of both ends of the pipe and the id of its supervisor; removed at once."""

_COMMANDS = ("run", "gate")
"""Those that run code of the user's."""
_NEEDED = ("posix_spawn", "waitpid", "pipe")
_FROM_KERNEL = 0x80
"""SI_KERNEL: what a terminal sends, to every process of its foreground group; kill(2) gives 0."""
_CODES = {signal.SIGINT: EXIT_INTERRUPTED, signal.SIGTERM: EXIT_TERMINATED}
_SHOWN = 5
_CHUNK = 65536


@dataclass(frozen=True, slots=True)
class Delivery:
    """What the watching process said through the pipe."""

    code: int | None = None
    """Its exit code; None where it never came to one."""
    late: tuple[str, ...] = ()
    """What was seen after the report was made, and would have changed it, a sentence each."""


def should_supervise() -> bool:
    """Return whether this command runs code of the user's, in a process that can be started once more as it was."""
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    return words[:1] in [[command] for command in _COMMANDS] and _can_start_again()


def _can_start_again() -> bool:
    main = sys.modules["__main__"]
    from_file = getattr(main, "__file__", None) is not None or sys.argv[:1] == ["-c"]
    # A program that calls `main` with arguments of its own making was not started with these.
    arguments = sys.argv[1:]
    as_started = bool(sys.executable) and sys.orig_argv[-len(arguments) :] == arguments
    able = all(hasattr(os, name) for name in _NEEDED) and hasattr(signal, "sigwait")
    return able and from_file and as_started


def supervise() -> int | None:
    """Start this command once more as a child and return the exit code of both; None where it cannot be started."""
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    environment = {**os.environ, VARIABLE: f"{writing}:{reading}:{os.getpid()}"}
    signals = _watched_signals()
    # Blocked signals wait to be fetched; and as none is handled or ignored here, the child finds them as they were.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    command = [sys.executable, *sys.orig_argv[1:]]
    try:
        child = os.posix_spawn(sys.executable, command, environment, setsigmask=before)
    except OSError:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(reading)
        os.close(writing)
        return None
    os.close(writing)
    status = _ended(child, signals)
    code, sentences = conclude(status, parse_delivery(_everything(reading)))
    for sentence in sentences:
        _say(sentence)
    return code


def _watched_signals() -> set[signal.Signals]:
    """Return what is passed on to the child, and what tells of its end."""
    names = ("SIGCHLD", "SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGALRM")
    return {getattr(signal, name) for name in names if hasattr(signal, name)}


def _ended(child: int, signals: set[signal.Signals]) -> int:
    """Return the wait status of `child`; what somebody sends to this process alone is passed on meanwhile."""
    while True:
        number, by_terminal = _next_signal(signals)
        if number == signal.SIGCHLD:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return status
        elif not by_terminal:
            os.kill(child, number)


def _next_signal(signals: set[signal.Signals]) -> tuple[int, bool]:
    """Return the next signal, and whether the terminal sent it, so that the child has it already."""
    if hasattr(signal, "sigwaitinfo"):
        found = signal.sigwaitinfo(signals)
        return found.si_signo, found.si_code == _FROM_KERNEL
    number = signal.sigwait(signals)
    return number, number in (signal.SIGINT, signal.SIGQUIT)


def _everything(reading: int) -> bytes:
    """Return what is in the pipe now: a child of the child may hold its other end for ever."""
    os.set_blocking(reading, False)
    found = b""
    try:
        while chunk := os.read(reading, _CHUNK):
            found += chunk
    except BlockingIOError:
        pass
    os.close(reading)
    return found


def parse_delivery(data: bytes) -> Delivery:
    """Return what `data` says: a word a line, and what belongs to it; the last code counts."""
    code: int | None = None
    late: list[str] = []
    for line in data.decode(errors="replace").splitlines():
        word, _, rest = line.partition(" ")
        if word == "code" and rest.isdecimal():
            code = int(rest)
        elif word == "late" and rest not in late:
            late.append(rest)
    return Delivery(code, tuple(late))


def conclude(status: int, said: Delivery) -> tuple[int, Sequence[str]]:
    """Return the exit code and what is to be said, given the child's wait status and what it delivered."""
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
    left = None if number is not None else os.WEXITSTATUS(status)
    if said.code is None:
        if number in _CODES:
            return _CODES[signal.Signals(number)], []
        return EXIT_NOT_MEASURED, [_unjudged(number, left)]
    late = said.late[:_SHOWN]
    if said.code == EXIT_CLEAN and (number is not None or left != EXIT_CLEAN):
        how = f"was ended by {_named(number)}" if number is not None else f"ended with exit status {left}"
        failed = (
            f"The process {how} after the report was made, while Python ended. What it did then is in no report; "
            "let it end in order, then watch it again."
        )
        return EXIT_NOT_MEASURED, [*late, failed]
    if said.code == EXIT_CLEAN and said.late:
        return EXIT_NOT_MEASURED, late
    return said.code, late


def _unjudged(number: int | None, left: int | None) -> str:
    """Return how the child ended without a verdict, and what to do."""
    if number is None:
        return (
            f"The process ended with exit status {left} before anything was judged, in a way that Python does not see, "
            "such as _exit of C. Let the target return or raise instead, then watch it again."
        )
    advice = "See whether the target ends so without syncwatch too, and mend that first."
    if number == signal.SIGKILL:
        advice = "Often that is the system, out of memory: give it less to do, then watch it again."
    return f"The process was ended by {_named(number)} before anything was judged. {advice}"


def _named(number: int | None) -> str:
    try:
        return signal.Signals(number or 0).name
    except ValueError:
        return f"signal {number}"


def _say(sentence: str) -> None:
    """Write one sentence to stderr, as `screen.say` does; what a terminal would act upon was spelled out before."""
    try:
        sys.stderr.write(f"error: {sentence}\n")
    except (OSError, ValueError, AttributeError):
        # The exit code says it too.
        return


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
    late: int = 0

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


def connect_to_supervisor() -> bool:
    """Return whether this process has a supervisor; what tells of it goes no further, to no child of the target.

    From then on the process ends when its supervisor does, where the system can do that.
    """
    global _pipe
    given = os.environ.pop(VARIABLE, "").split(":")
    if len(given) != 3 or not all(each.isdecimal() for each in given) or os.getppid() != int(given[2]):
        return False
    number, supervisor = int(given[0]), int(given[2])
    try:
        found = os.fstat(number)
        if not stat.S_ISFIFO(found.st_mode):
            return False
        os.set_inheritable(number, False)
        os.set_blocking(number, False)
    except OSError:
        return False
    _pipe = _Pipe(number, f"/proc/{supervisor}/fd/{given[1]}", os.getpid(), found.st_ino)
    _die_with(supervisor)
    return True


def is_supervised() -> bool:
    """Return whether this process has a supervisor and may speak to it."""
    return _pipe is not None and _pipe.owner == os.getpid()


def send_exit_code(code: int) -> None:
    """Tell the supervisor what to end with; nothing where there is none."""
    if _pipe is not None:
        _pipe.write(f"code {code}")


def send_late_wait(sentence: str) -> None:
    """Tell the supervisor of a wait seen after the report was made, so that a clean verdict no longer holds."""
    pipe = _pipe
    if pipe is not None and pipe.late < _MOST:
        pipe.late += 1
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
