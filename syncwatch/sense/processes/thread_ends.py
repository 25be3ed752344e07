"""Notes threads of the target that died of an error: a part of the run was then not seen."""

from __future__ import annotations

import sys
import threading
from types import TracebackType
from typing import Any

from syncwatch.sense.patching import Patches


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
