"""Reports on a target that ends its process without coming back, with `os._exit` or by running another program.

Then the run is finished and reported first, on the thread that leaves. Ways out that Python does not pass are the
supervisor's matter.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from syncwatch.sense.patching import Patches
from syncwatch.sense.processes.commands import named


@dataclass(frozen=True, slots=True)
class ExitInfo:
    """How the target leaves."""

    status: int | None
    """The exit status that it gave `os._exit`; None where another program takes its place."""
    program: str = ""
    """What that is called."""


Conclude = Callable[[ExitInfo], int]
"""Ends the watch, reports, tells whoever started the process, and returns the exit code."""


class ExitHooks:
    """Inside the block, what leaves the watched process reports first.

    Args:
        conclude: is called at most once.
    """

    def __init__(self, conclude: Conclude) -> None:
        self._conclude = conclude
        self._owner = os.getpid()
        self._claimed: int | None = None
        """The thread that finishes the run."""
        self._lock = threading.Lock()
        self._patches = Patches()

    def __enter__(self) -> ExitHooks:
        global _on
        _hook()
        for owner in {os, sys.modules[os.name]}:
            self._patches.set(owner, "_exit", self._exit(os._exit))
        _on = self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        global _on
        if os.getpid() == self._owner and not self._claim():
            # Another thread finishes the run, and ends the process.
            threading.Event().wait()
        _on = None
        self._patches.restore()

    def _claim(self) -> bool:
        """Return whether the calling thread may finish the run; only the first one ever may."""
        with self._lock:
            if self._claimed is None:
                self._claimed = threading.get_ident()
                return True
            return False

    def _exit(self, plain: Callable[[int], NoReturn]) -> Callable[[int], NoReturn]:
        def _exit(status: int) -> NoReturn:
            if os.getpid() != self._owner or self._claimed == threading.get_ident():
                plain(status)
            if not self._claim():
                threading.Event().wait()
            plain(self._conclude(ExitInfo(int(status))))

        return _exit

    def replaced(self, path: Any, words: Any) -> None:
        """Report before another program takes the place of this process, if it can."""
        # `os.execvp` tries every folder of PATH; most of these calls fail.
        program = Path(os.fsdecode(path))
        runs = program.is_file() and os.access(program, os.X_OK)
        if os.getpid() == self._owner and runs and self._claim():
            self._conclude(ExitInfo(None, named([os.fsdecode(path), *(os.fsdecode(word) for word in list(words)[1:])])))


_on: ExitHooks | None = None
_hooked = False


def _hook() -> None:
    """Hear of `exec` in every form, also by names that the target has taken before; a hook stays for good."""
    global _hooked
    if not _hooked:
        sys.addaudithook(_audit)
        _hooked = True


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "os.exec" and _on is not None:
        _on.replaced(arguments[0], arguments[1])
