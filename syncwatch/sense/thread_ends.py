"""Answers: did a thread of the target die of an error? What it would have done after it was not seen."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any

from syncwatch.sense.virtual.patching import Patches


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

        self._patches.set(threading, "excepthook", excepthook)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._patches.restore()

    def unwatched(self) -> tuple[str, ...]:
        """Return a sentence for each thread that died."""
        return tuple(
            f"The thread {name} was ended by {error}: what it would have done then is not in the report. Make it run "
            "to its end, then watch it again."
            for name, error in self._died
        )
