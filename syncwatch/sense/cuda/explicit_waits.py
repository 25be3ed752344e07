"""The sensor for waits that the user asked for: `synchronize()` of the device or an event, with its line."""

from __future__ import annotations

from types import FrameType

from syncwatch.model.events import SyncKind
from syncwatch.sense.cuda.start import has_gpu
from syncwatch.sense.cuda.waiting_calls import WaitingCalls
from syncwatch.sense.recorder import Recorder


class ExplicitWaits:
    """Wraps the calls that wait and that torch's sync debug mode does not warn of."""

    name = "explicit_waits"
    sees = "torch.cuda.synchronize(), torch.accelerator.synchronize() and synchronize() of events, with their line"
    blind_to: tuple[str, ...] = ("every other wait",)

    def __init__(self) -> None:
        self._recorder: Recorder | None = None
        self._calls = WaitingCalls(self._record)

    def unavailable(self) -> str | None:
        """Return why it cannot run here, or None."""
        return None if has_gpu() else "no CUDA GPU: use --device virtual"

    def start(self, recorder: Recorder) -> None:
        """Wrap the calls."""
        self._recorder = recorder
        self._calls.start()

    def stop(self) -> None:
        """Take the wrappers off."""
        self._calls.stop()
        self._recorder = None

    def _record(self, kind: SyncKind, asked: bool, frame: FrameType) -> None:
        recorder = self._recorder
        if recorder is not None:
            heard = recorder.now_ns()
            stack = recorder.stack(frame)
            recorder.sync(kind, explicit=asked, op=None, sensor=self.name, stack=stack, start_ns=heard)
