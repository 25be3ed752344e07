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
    """Notes the threads that end with an exception inside the block; Python writes it and goes on."""

    def __init__(self) -> None:
        self._died: list[tuple[str, str]] = []
        self._patches = Patches()

    def __enter__(self) -> ThreadEnds:
        plain = threading.excepthook

        def excepthook(arguments: Any, /) -> None:
            # SystemExit is how a thread ends itself.
            if not issubclass(arguments.exc_type, SystemExit):
                name = arguments.thread.name if arguments.thread is not None else "unknown"
                self._died.append((name, arguments.exc_type.__name__))
            plain(arguments)

        plain_unraisable = sys.unraisablehook

        def unraisable(arguments: Any, /) -> None:
            # Those that `_thread` started end here; Python 3.14 says it in the same words.
            if "in thread started by" in (arguments.err_msg or ""):
                name = getattr(arguments.object, "__qualname__", "unknown")
                self._died.append((name, arguments.exc_type.__name__))
            plain_unraisable(arguments)

        self._patches.set(threading, "excepthook", excepthook)
        self._patches.set(sys, "unraisablehook", unraisable)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._patches.restore()

    def unwatched(self) -> tuple[str, ...]:
        """Return a sentence for each thread that died."""
        died = (
            f"The thread {name} was ended by {error}: what it would have done then is not in the report. Make it run "
            "to its end, then watch it again."
            for name, error in self._died
        )
        return tuple(dict.fromkeys(died))
