"""Answers: what does torch's own sync debug mode see? Its warnings, caught with the line that waited."""

from __future__ import annotations

import sys
import threading
import warnings
from types import FrameType
from typing import Any, TextIO

import torch

from syncwatch.model.events import SyncKind
from syncwatch.sense.recorder import Recorder

_MESSAGE = "called a synchronizing CUDA operation"


class DebugMode:
    """Runs `torch.cuda.set_sync_debug_mode("warn")` and turns each warning into an event.

    The mode is one static of the process, so every thread is watched. The mode, the filters and the hook that the
    user had are restored by `stop`.
    """

    name = "debug_mode"
    sees = "stream synchronizations and blocking copies through torch, with their line"
    blind_to: tuple[str, ...] = (
        "torch.cuda.synchronize() and Event.synchronize()",
        "libraries under torch",
        "non-blocking copies that block after all",
    )

    def __init__(self) -> None:
        self._recorder: Recorder | None = None
        self._previous_mode: int | None = None
        self._previous_hook: Any = None
        self._filters: list[Any] = []
        self._lock = threading.Lock()

    def unavailable(self) -> str | None:
        """Return why it cannot run here, or None."""
        return None if torch.cuda.is_available() else "no CUDA GPU: use --device virtual"

    def start(self, recorder: Recorder) -> None:
        """Switch the mode to "warn" and hook the warnings."""
        self._recorder = recorder
        self._previous_mode = torch.cuda.get_sync_debug_mode()
        self._previous_hook = warnings.showwarning
        self._filters = list(warnings.filters)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Synchronization debug mode is a prototype")
            torch.cuda.set_sync_debug_mode("warn")
        warnings.showwarning = self._on_warning
        # "always": Python otherwise shows one warning a line and drops the rest.
        warnings.filterwarnings("always", message=f".*{_MESSAGE}")

    def stop(self) -> None:
        """Restore the mode, the hook and the filters."""
        if self._previous_mode is None:
            return
        torch.cuda.set_sync_debug_mode(self._previous_mode)
        self._previous_mode = None
        warnings.showwarning = self._previous_hook
        warnings.filters[:] = self._filters  # type: ignore[index]  # a list, typed as a sequence in typeshed
        getattr(warnings, "_filters_mutated", lambda: None)()
        self._recorder = None

    def _on_warning(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        recorder = self._recorder
        if recorder is None or _MESSAGE not in str(message):
            self._previous_hook(message, category, filename, lineno, file, line)
            return
        stack = recorder.stack(_outside_warnings(sys._getframe(1)))
        recorder.sync(SyncKind.STREAM, explicit=False, op=None, sensor=self.name, stack=stack)


def _outside_warnings(frame: FrameType | None) -> FrameType | None:
    while frame is not None and frame.f_code.co_filename == warnings.__file__:
        frame = frame.f_back
    return frame
