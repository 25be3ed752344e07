"""How children of this process and threads of the target ended, without taking their end from the program."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from syncwatch.sense.patching import Patches

_plain_waitid: Callable[..., Any] | None = getattr(os, "waitid", None)
"""As it was before anything wrapped it."""


def exit_status_of(pid: int) -> int | None:
    """Return how the child `pid` ended, as a negative number by which signal; None while it runs, or is gone."""
    if _plain_waitid is None:
        return None
    try:
        found = _plain_waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except OSError:
        return None
    if found is None:
        return None
    return int(found.si_status) if found.si_code == os.CLD_EXITED else -int(found.si_status)


def own_children() -> set[int]:
    """Return the children that the system knows of, also those that ended and were not waited for; on Linux."""
    found: set[int] = set()
    for path in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found |= {int(word) for word in path.read_text().split()}
    return found


def times_of_children() -> tuple[float, ...]:
    """Return what the children took that ended and were waited for, by whomever."""
    try:
        import resource
    except ImportError:
        return ()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_minflt, used.ru_utime, used.ru_stime)


def is_running(pid: int) -> bool:
    """Return whether there is a process `pid` that has not ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return sys.platform != "linux" or os.path.exists(f"/proc/{pid}")


class ThreadEnds:
    """Notes the threads that end with an exception inside the block; Python writes it and goes on.

    Blocks may overlap.
    """

    def __init__(self) -> None:
        self._died: list[tuple[str, str]] = []

    def __enter__(self) -> ThreadEnds:
        if not _noting:
            _patch()
        _noting.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self in _noting:
            _noting.remove(self)
        if not _noting:
            _patches.restore()

    def add(self, name: str, error: str) -> None:
        """Note that the thread `name` was ended by `error`."""
        self._died.append((name, error))

    def unwatched(self) -> tuple[str, ...]:
        """Return a sentence for each thread that died."""
        died = (
            f"The thread {name} was ended by {error}: what it would have done then is not in the report. Make it run "
            "to its end, then watch it again."
            for name, error in self._died
        )
        return tuple(dict.fromkeys(died))


_noting: list[ThreadEnds] = []
_patches = Patches()


def _patch() -> None:
    """Hear of threads that die; `_patches` undoes it."""
    plain, plain_unraisable = threading.excepthook, sys.unraisablehook

    def excepthook(arguments: Any, /) -> None:
        # SystemExit is how a thread ends itself.
        if not issubclass(arguments.exc_type, SystemExit):
            _died(arguments.thread.name if arguments.thread is not None else "unknown", arguments.exc_type)
        plain(arguments)

    def unraisable(arguments: Any, /) -> None:
        # Those that `_thread` started end here; Python 3.14 says it in the same words.
        if "in thread started by" in (arguments.err_msg or ""):
            _died(getattr(arguments.object, "__qualname__", "unknown"), arguments.exc_type)
        plain_unraisable(arguments)

    _patches.set(threading, "excepthook", excepthook)
    _patches.set(sys, "unraisablehook", unraisable)


def _died(name: str, error: type[BaseException]) -> None:
    for each in _noting:
        each.add(name, error.__name__)
