"""The sensor that uses torch's own sync debug mode: catches its warnings, with the line that waited."""

from __future__ import annotations

from types import FrameType

from syncwatch.model.events import SyncKind
from syncwatch.sense.cuda.start import has_gpu
from syncwatch.sense.cuda.sync_warnings import SyncWarnings
from syncwatch.sense.cuda.warn_mode import hold, release, takes_warnings
from syncwatch.sense.recorder import Recorder
from syncwatch.sense.stacks import AUTOGRAD, in_backward, is_explicit


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
        self._recorder = recorder
        hold(self)
        self._warnings.start()

    def stop(self) -> None:
        """Restore the mode and the filters."""
        if self._recorder is None:
            return
        release(self)
        self._warnings.stop()
        self._recorder = None

    def _on_warning(self, frame: FrameType | None) -> bool:
        """Record the wait; the outermost keeps the warning from a user who did not ask for it."""
        recorder = self._recorder
        last = takes_warnings(self)
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
