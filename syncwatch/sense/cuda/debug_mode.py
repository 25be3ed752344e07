"""The sensor that uses torch's own sync debug mode: catches its warnings, with the line that waited."""

from __future__ import annotations

from types import FrameType

from syncwatch.compat.torch_cuda import debug_mode, set_debug_mode
from syncwatch.model.events import SyncKind
from syncwatch.sense.cuda.start import has_gpu
from syncwatch.sense.cuda.sync_warnings import SyncWarnings
from syncwatch.sense.recorder import Recorder
from syncwatch.sense.stacks import AUTOGRAD, in_backward, is_explicit

_DEFAULT, _WARN = 0, 1
"""Sync debug modes: the one that says nothing, and `"warn"`."""


_on: list[DebugMode] = []
"""Those that listen, the outermost first: Python asks the innermost first, and stops where a warning is taken."""
_users_mode = _DEFAULT
"""The mode that the program had when the first of them began; it is put back with the last, whichever that is."""


class DebugMode:
    """Runs `torch.cuda.set_sync_debug_mode("warn")` and turns each warning into an event.

    The mode is one static of the process, so every thread is watched. A wait on one of autograd's threads is warned of
    on the thread that called `backward`, behind the fact; it is recorded as autograd's. The mode and the filters that
    the user had are restored by `stop`.
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
        self._warnings = SyncWarnings(self._on_warning)

    def unavailable(self) -> str | None:
        """Return why it cannot run here, or None."""
        return None if has_gpu() else "no CUDA GPU: use --device virtual"

    def start(self, recorder: Recorder) -> None:
        """Switch the mode to "warn" and listen to the warnings."""
        global _users_mode
        self._recorder = recorder
        if not _on:
            _users_mode = debug_mode()
        _on.append(self)
        self._warnings.start()
        set_debug_mode(_WARN)

    def stop(self) -> None:
        """Restore the mode and the filters."""
        if self not in _on:
            return
        _on.remove(self)
        if not _on:
            set_debug_mode(_users_mode)
        self._warnings.stop()
        self._recorder = None

    def _on_warning(self, frame: FrameType | None) -> bool:
        """Record the wait; the outermost keeps the warning from a user who did not ask for it."""
        recorder = self._recorder
        last = _on[:1] == [self] and _users_mode == _DEFAULT
        if recorder is None or frame is None:
            return last
        heard = recorder.now_ns()
        thread = recorder.thread_called(AUTOGRAD) if in_backward(frame) else None
        recorder.sync(
            SyncKind.STREAM,
            explicit=is_explicit(frame),
            op=None,
            sensor=self.name,
            stack=recorder.stack(frame),
            thread=thread,
            end_ns=heard,
        )
        return last
