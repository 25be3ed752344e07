"""Asks the system which children this process has, and how they ended, without taking their end from the program."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_plain_waitid: Callable[..., Any] | None = getattr(os, "waitid", None)
"""As it was before anything wrapped it."""


def peek(pid: int) -> int | None:
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
