"""Watches a CUDA GPU: puts the sensors on, takes them off, and says what they could not see."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator

import torch

from syncwatch.errors import NotMeasuredError
from syncwatch.model.events import SyncEvent
from syncwatch.model.session import DeviceKind, Environment
from syncwatch.sense import active
from syncwatch.sense.base import Sensed
from syncwatch.sense.cuda.hooks import Hooks
from syncwatch.sense.cuda.one_run import OneRun
from syncwatch.sense.cuda.start import has_gpu, is_initialized, is_used_without_torch
from syncwatch.sense.environment import environment
from syncwatch.sense.recorder import Recorder
from syncwatch.sense.scopes import range_hooks


class CudaDevice:
    """The GPU of this machine, and the sensors that watch it.

    Raises:
        NotMeasuredError: if there is no CUDA GPU.
    """

    kind = DeviceKind.CUDA

    def __init__(self) -> None:
        if not has_gpu():
            raise NotMeasuredError(
                "There is no CUDA GPU here. Use --device virtual to run without one, or --device auto to choose."
            )
        self._failures: list[str] = []

    def environment(self) -> Environment:
        """Return the versions, the GPU and its driver; without the GPU's name while the program does not use it."""
        return environment(self.kind, torch.cuda.get_device_name() if is_initialized() else None)

    @contextlib.contextmanager
    def watch(self, variant: str, *, times: bool = True) -> Iterator[Sensed]:
        """Watch lines and times by CUPTI, or where CUPTI is taken the lines by torch's hooks."""
        run = OneRun(Recorder(now_ns=time.time_ns), times)
        run.calls.failures = self._failures
        sensed = Sensed(variant, snapshot=lambda: run.recording(variant))
        try:
            with _listening(run.recorder), run.on():
                yield sensed
        finally:
            if os.getpid() == run.recorder.owner:
                sensed.recording = run.recording(variant)

    @contextlib.contextmanager
    def lines(self, variant: str) -> Iterator[Sensed]:
        """Watch the lines alone, with torch's hooks, which cost next to nothing where nothing waits."""
        hooks = Hooks(Recorder(now_ns=time.time_ns))
        sensed = Sensed(variant, snapshot=lambda: hooks.recording(variant))
        try:
            with _listening(hooks.recorder), hooks.on():
                yield sensed
        finally:
            if os.getpid() == hooks.recorder.owner:
                sensed.recording = hooks.recording(variant)

    def watch_until_exit(self, notify: Callable[[SyncEvent | None], None]) -> None:
        """Call `notify` with every wait that torch's hooks see from now on; see `WatchedDevice.watch_until_exit`."""
        staying = _staying(Recorder(now_ns=time.time_ns, after=notify))
        staying.__enter__()
        # Let go, it would end with this device, and the process goes on.
        _STAYING.append(staying)

    def used(self) -> int | None:
        """Return 0 while nothing initialised CUDA; after that nothing counts what the hooks do not see."""
        return None if is_initialized() else 0

    def unwatched(self) -> tuple[str, ...]:
        """Return a sentence where the program uses the GPU past torch, which starts no record; else nothing.

        Native code beside torch calls the same driver, and what the hooks miss of it, the coverage says.
        """
        failed = tuple(f"A driver call has no line: looking for it failed ({each})." for each in self._failures[:1])
        if not is_used_without_torch():
            return failed
        said = "Something other than torch used the GPU, and torch never did, so that no wait was recorded. Call "
        return (f"{said}`torch.cuda.init()` first, so that the records begin.", *failed)

    def close(self) -> None:
        """Leave the device as it was; there is nothing to do on CUDA."""


_STAYING: list[contextlib.AbstractContextManager[None]] = []
"""The hooks that listen until the process ends."""


@contextlib.contextmanager
def _staying(recorder: Recorder) -> Iterator[None]:
    with _listening(recorder), Hooks(recorder).on():
        yield


@contextlib.contextmanager
def _listening(recorder: Recorder) -> Iterator[None]:
    """Let `recorder` number the steps and hear the ranges."""
    active.push(recorder)
    try:
        with range_hooks.installed():
            yield
    finally:
        active.pop(recorder)
