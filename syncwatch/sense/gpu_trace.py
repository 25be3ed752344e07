"""Answers: which synchronizations does torch announce? Its GPU trace callbacks, with the line that waits."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import torch

from syncwatch.model.events import SyncKind
from syncwatch.sense.nearest import asked_for
from syncwatch.sense.recorder import Recorder


class GpuTrace:
    """Registers the callbacks of `torch.cuda._gpu_trace` for device, stream and event synchronization.

    torch calls them on the waiting thread, just before it waits. They fired for every synchronization call that CUPTI
    recorded over 220 idioms on an H200, and for no other; what libraries under torch do stays unseen.
    """

    name = "gpu_trace"
    sees = "every device, stream and event synchronization through torch, with its line"
    blind_to: tuple[str, ...] = ("libraries under torch", "non-blocking copies that block after all")

    def __init__(self) -> None:
        self._recorder: Recorder | None = None
        self._registered: list[tuple[Any, Any]] = []

    def unavailable(self) -> str | None:
        """Return why it cannot run here, or None."""
        if not torch.cuda.is_available():
            return "no CUDA GPU: use --device virtual"
        if not hasattr(torch._C, "_activate_gpu_trace"):
            return f"torch {torch.__version__} has no GPU trace: install a build with CUDA"
        return None

    def start(self, recorder: Recorder) -> None:
        """Register the callbacks; torch cannot deactivate the trace again, only the callbacks are taken out."""
        from torch.cuda import _gpu_trace

        self._recorder = recorder
        torch._C._activate_gpu_trace()
        self._register(_gpu_trace.DeviceSynchronizationCallbacks, self._on_device)
        self._register(_gpu_trace.StreamSynchronizationCallbacks, self._on_stream)
        self._register(_gpu_trace.EventSynchronizationCallbacks, self._on_event)

    def stop(self) -> None:
        """Take the callbacks out."""
        for registry, callback in self._registered:
            if callback in registry.callback_list:
                registry.callback_list.remove(callback)
        self._registered.clear()
        self._recorder = None

    def _register(self, registry: Any, callback: Any) -> None:
        registry.add_callback(callback)
        self._registered.append((registry, callback))

    def _on_device(self) -> None:
        self._record(SyncKind.DEVICE, sys._getframe(1).f_back)

    def _on_stream(self, stream: int) -> None:
        self._record(SyncKind.STREAM, sys._getframe(1).f_back)

    def _on_event(self, event: int) -> None:
        self._record(SyncKind.EVENT, sys._getframe(1).f_back)

    def _record(self, kind: SyncKind, frame: FrameType | None) -> None:
        recorder = self._recorder
        if recorder is None:
            return
        stack = None if frame is None else recorder.stack(frame)
        recorder.sync(kind, explicit=asked_for(frame), op=None, sensor=self.name, stack=stack)
