"""Notes the other processes that ran as part of the target, which are not watched, and how they ended.

A child that runs no Python has no torch; one that was forked and left the GPU alone has nothing to report. Every other
could have waited, so that the run was not measured.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any

from syncwatch.sense import active
from syncwatch.sense.patching import Patches
from syncwatch.sense.processes import forks
from syncwatch.sense.processes.commands import command_name, line_runs_python, runs_python
from syncwatch.sense.processes.ends import exit_status_of, is_running, own_children, times_of_children
from syncwatch.sense.processes.forked_child import register
from syncwatch.sense.processes.forks import ForkActivity

_WORKERS = "torch.utils.data._utils.worker"
"""Where torch defines what a worker of a DataLoader runs."""
_PATIENCE_S = 2.0
"""How long a forked child may take to end when the target has ended, before it is said that it goes on."""
_ADVICE = "Watch what it runs by itself, or let the policy say what becomes of it (`unwatched`)."


@dataclass(slots=True)
class _Child:
    """One process that the watched one started."""

    name: str
    """What a report calls it."""
    pid: int | None
    python: bool = False
    """Whether it runs Python, in a process that is no fork."""
    forked: bool = False
    worker: bool = False
    """Whether it is a worker of a DataLoader, which reads data and leaves the GPU alone."""
    status: int | None = None
    """How it ended, as `waitstatus_to_exitcode` gives it; None while that is not known."""
    sent: set[int] = field(default_factory=set)
    """Signals that the watched process sent it."""

    def failed(self) -> str | None:
        """Return how it failed, None where it did not, or was ended by the watched process."""
        if not self.status or -self.status in self.sent:
            return None
        return f"ended with exit status {self.status}" if self.status > 0 else f"was ended by {_signal(-self.status)}"


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


class Children:
    """Notes the processes that are started inside the block."""

    def __init__(self) -> None:
        self.program_goes_on = False
        """Whether the program outlives the block, so that no child is waited for, and each may run as it pleases."""
        self._started: list[_Child] = []
        self._forked_before: frozenset[int] = frozenset()
        self._running: frozenset[int] = frozenset()
        """Forked processes that still ran at the end."""
        self._from_c: tuple[str, ...] = ()
        self._before: frozenset[int] = frozenset()
        self._times = times_of_children()

    def __enter__(self) -> Children:
        register()
        forks.begin(nested=bool(active.recorders() or _watching))
        self._forked_before = frozenset(forks.forked())
        self._before = frozenset(own_children())
        self._times = times_of_children()
        if not _watching:
            _patch()
        _watching.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if forks.is_child() or self not in _watching:
            return
        self.look()
        _watching.remove(self)
        if not _watching:
            _patches.restore()

    def add(self, child: _Child) -> None:
        """Note one more."""
        self._started.append(child)

    def of(self, pid: int) -> _Child | None:
        """Return the last child that had this id."""
        return next((child for child in reversed(self._started) if child.pid == pid), None)

    def unwatched(self) -> tuple[str, ...]:
        """Return what may have waited, or did not come to its end, a sentence each."""
        return tuple(dict.fromkeys((*self._python(), *self._forked(), *self._from_c, *self._failed())))

    def notes(self) -> tuple[str, ...]:
        """Return what a reader should know, and need not act upon."""
        forked = sum(child.forked for child in self._started)
        found = []
        if forked:
            often = "once" if forked == 1 else f"{forked} times"
            used = any(did & ForkActivity.USED_GPU for did in self._descendants().values())
            more = "" if used else ": they did not use the GPU"
            found.append(f"The process forked {often}; what its children did is not in the report{more}.")
        workers = sum(child.worker and not child.forked for child in self._started)
        if workers:
            found.append(f"{_counted(workers, 'worker')} of a DataLoader ran in processes of their own, not watched.")
        return tuple(found)

    def _descendants(self) -> dict[int, ForkActivity]:
        return {pid: did for pid, did in forks.forked().items() if pid not in self._forked_before}

    def _python(self) -> list[str]:
        counts: dict[str, int] = {}
        for child in self._started:
            if child.python and not child.worker:
                counts[child.name] = counts.get(child.name, 0) + 1
        return [
            f"{_once_or_more(name, count)} ran Python and was not watched. {_ADVICE}" for name, count in counts.items()
        ]

    def _forked(self) -> list[str]:
        own = self._descendants()
        said = []
        if used := sum(bool(did & ForkActivity.USED_GPU) for did in own.values()):
            what = "A forked child" if used == 1 else f"{used} forked children"
            said.append(f"{what} used the GPU, and what it did there was not watched. {_ADVICE}")
        if became := sum(bool(did & ForkActivity.BECAME_PYTHON) for did in own.values()):
            what = "A forked child" if became == 1 else f"{became} forked children"
            said.append(f"{what} replaced itself by a program of Python, which was not watched. {_ADVICE}")
        if running := len(self._running):
            what = "A forked child" if running == 1 else f"{running} forked children"
            said.append(
                f"{what} still ran when the target had ended, and what it does from then on is not watched. Let the "
                "target wait for it."
            )
        return said

    def _failed(self) -> list[str]:
        descendants = self._descendants()
        said = []
        for child in self._started:
            how = child.failed() if child.python or child.forked else None
            if how is None or (
                child.forked and descendants.get(child.pid or 0, ForkActivity.NOTHING) & ForkActivity.BECAME_OTHER
            ):
                continue
            said.append(f"{child.name} {how}: a part of the run is missing. Make it end in order, then watch it again.")
        return said

    def look(self) -> None:
        """Ask the system what still runs, and how those ended that nobody has waited for; who does later still can."""
        end = time.monotonic() + _PATIENCE_S
        while not self.program_goes_on and self._still_running() and time.monotonic() < end:
            time.sleep(_PATIENCE_S / 100)
        self._running = frozenset() if self.program_goes_on else self._still_running()
        for child in self._started:
            if child.status is None and child.pid is not None:
                child.status = exit_status_of(child.pid)
        self._from_c = tuple(self._started_by_c())

    def _still_running(self) -> frozenset[int]:
        """Return the forked processes that run, but for workers of DataLoaders, which end when they are left alone."""
        excused = {child.pid for child in self._started if child.worker or not child.forked}
        forked = (pid for pid, did in self._descendants().items() if not did & ForkActivity.BECAME_OTHER)
        return frozenset(pid for pid in forked if pid not in excused and is_running(pid))

    def _started_by_c(self) -> Iterator[str]:
        """Yield what tells of a process that was not started through Python, as by `system` of C."""
        known = {child.pid for child in self._started} | set(self._descendants()) | self._before
        if own_children() - known or (not self._started and times_of_children() != self._times):
            yield f"A process that C code started was not watched; what it ran is not known. {_ADVICE}"


def _once_or_more(name: str, count: int) -> str:
    return name if count == 1 else f"{name} ({count} times)"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


_watching: list[Children] = []
_patches = Patches()
_hooked = False


def _note_child(child: _Child) -> None:
    if not forks.is_child():
        for each in _watching:
            each.add(child)


def _ended(pid: int, status: int | None) -> None:
    """Note how a child ended: its exit code, or the negative number of the signal."""
    for each in _watching:
        child = each.of(pid)
        if child is not None and child.status is None:
            child.status = status


def _is_worker(pid: int) -> None:
    for each in _watching:
        child = each.of(pid)
        if child is not None:
            child.worker = True


def _started_command(words: Sequence[str], executable: str | None, pid: int | None) -> None:
    _note_child(_Child(f"A child process (`{command_name(words)}`)", pid, python=runs_python(words, executable)))


def _patch() -> None:
    """Wrap what starts processes and what waits for them; `_patches` undoes it."""
    global _hooked
    if not _hooked:
        sys.addaudithook(_audit)
        _hooked = True
    owners = [os, *(sys.modules[name] for name in ("posix",) if name in sys.modules)]
    wraps: dict[str, Callable[[Any], Any]] = {
        "fork": _wrap_fork,
        "forkpty": _wrap_fork,
        "posix_spawn": _wrap_spawn,
        "posix_spawnp": _wrap_spawn,
        "system": _wrap_system,
        **dict.fromkeys(("waitpid", "wait", "wait3", "wait4"), _wrap_wait),
        "waitid": _wrap_waitid,
    }
    for name, wrap in wraps.items():
        plain = getattr(os, name, None)
        if plain is not None:
            replacement = wrap(plain)
            for owner in owners:
                _patches.set_if_there(owner, name, replacement)
    _patch_subprocess()
    _patches.set(BaseProcess, "start", _wrap_start(BaseProcess.start))


def _wrap_fork(plain: Callable[[], Any]) -> Callable[[], Any]:
    def fork() -> Any:
        found = plain()
        pid = found[0] if isinstance(found, tuple) else found
        if pid:
            _note_child(_Child("A forked child", pid, forked=True))
        return found

    return fork


def _wrap_spawn(plain: Callable[..., int]) -> Callable[..., int]:
    def spawn(path: Any, argv: Any, env: Any, /, **named_arguments: Any) -> int:
        pid = plain(path, argv, env, **named_arguments)
        if not _called_by("subprocess"):
            _started_command([os.fsdecode(word) for word in argv], os.fsdecode(path), pid)
        return pid

    return spawn


def _wrap_system(plain: Callable[[Any], int]) -> Callable[[Any], int]:
    def system(command: Any) -> int:
        line = os.fsdecode(command)
        _note_child(_Child(f"A child process (`{command_name(line.split())}`)", None, python=line_runs_python(line)))
        return plain(command)

    return system


def _wrap_wait(plain: Callable[..., Any]) -> Callable[..., Any]:
    def wait(*arguments: Any, **named_arguments: Any) -> Any:
        found = plain(*arguments, **named_arguments)
        pid, status = found[0], found[1]
        if pid and not os.WIFSTOPPED(status) and not os.WIFCONTINUED(status):
            _ended(pid, os.waitstatus_to_exitcode(status))
        return found

    return wait


def _wrap_waitid(plain: Callable[..., Any]) -> Callable[..., Any]:
    def waitid(*arguments: Any) -> Any:
        found = plain(*arguments)
        if found is not None and found.si_code in (os.CLD_EXITED, os.CLD_KILLED, os.CLD_DUMPED):
            _ended(found.si_pid, found.si_status if found.si_code == os.CLD_EXITED else -found.si_status)
        return found

    return waitid


def _patch_subprocess() -> None:
    """`Popen` waits with names of its own, and its callers may ask it alone."""
    popen: Any = subprocess.Popen
    plain_init = popen.__init__

    def __init__(self: Any, args: Any, *more: Any, **named_arguments: Any) -> None:  # noqa: N807
        plain_init(self, args, *more, **named_arguments)
        one = isinstance(args, (str, bytes, os.PathLike))
        words = [os.fsdecode(args)] if one else [os.fsdecode(word) for word in args]
        executable = named_arguments.get("executable") or (more[1] if len(more) > 1 else None)
        shell = named_arguments.get("shell", more[7] if len(more) > 7 else False)
        if shell:
            name = f"A child process (`{command_name(words[0].split())}`)"
            _note_child(_Child(name, self.pid, python=line_runs_python(words[0])))
            return
        _started_command(words, None if executable is None else os.fsdecode(executable), self.pid)

    _patches.set(popen, "__init__", __init__)
    plain_handle = getattr(popen, "_handle_exitstatus", None)
    if plain_handle is not None:

        def handle_exitstatus(self: Any, status: int, *more: Any) -> Any:
            found = plain_handle(self, status, *more)
            if self.returncode is not None:
                _ended(self.pid, self.returncode)
            return found

        _patches.set(popen, "_handle_exitstatus", handle_exitstatus)
    spawning: Any = sys.modules.get("_posixsubprocess")
    plain_exec = getattr(spawning, "fork_exec", None)
    if plain_exec is not None:

        def fork_exec(args: Any, files: Any, *more: Any) -> Any:
            pid = plain_exec(args, files, *more)
            # `multiprocessing` calls it, and other pools of processes; their own starts are noted by name.
            if not _called_by("subprocess", "multiprocessing.util"):
                _started_command([os.fsdecode(word) for word in args], os.fsdecode(files[0]), pid)
            return pid

        _patches.set(spawning, "fork_exec", fork_exec)


def _wrap_start(plain: Callable[[Any], None]) -> Callable[[Any], None]:
    def start(self: Any) -> None:
        # A process that has started no longer knows.
        worker = getattr(getattr(self, "_target", None), "__module__", "") == _WORKERS
        plain(self)
        method = _start_method(self)
        if method != "fork":
            _note_child(_Child(f"A process of multiprocessing ({method})", self.pid, python=True, worker=worker))
        elif worker:
            _is_worker(self.pid)

    return start


def _start_method(process: Any) -> str:
    """Return how `process` was started: by what made it, since a context of its own may have been asked for."""
    module = type(getattr(process, "_popen", None)).__module__
    return module.rpartition("popen_")[2].removesuffix("_posix").removesuffix("_win32") or "fork"


def _called_by(*modules: str) -> bool:
    """Return whether the wrapped call came from one of these modules, which are noted otherwise."""
    return sys._getframe(2).f_globals.get("__name__") in modules


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    """Hear of what has no other end to wrap: `exec` in a forked child, and signals that are sent."""
    if event == "os.exec":
        if _watching and forks.is_child():
            words = [os.fsdecode(word) for word in arguments[1]]
            forks.note_activity(
                ForkActivity.BECAME_PYTHON
                if runs_python(words, os.fsdecode(arguments[0]))
                else ForkActivity.BECAME_OTHER
            )
    elif event in ("os.kill", "os.killpg") and arguments[1] and not forks.is_child():
        for each in _watching:
            for child in each._started:
                if child.pid == arguments[0] or event == "os.killpg":
                    child.sent.add(arguments[1])
