"""Answers: how is a CUDA GPU watched? Puts the sensors on, takes them off, and joins what they saw."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from syncwatch.errors import NotMeasuredError
from syncwatch.model.events import SyncEvent
from syncwatch.model.session import Coverage, DeviceKind, Environment, Recording
from syncwatch.sense import active, cupti
from syncwatch.sense.copies import Copies
from syncwatch.sense.debug_mode import DebugMode
from syncwatch.sense.environment import environment
from syncwatch.sense.gpu_trace import GpuTrace
from syncwatch.sense.join import join
from syncwatch.sense.names import WINDOW_RANGE
from syncwatch.sense.reconcile import reconciled
from syncwatch.sense.recorder import Recorder

_BLIND_WITHOUT_CUPTI = ("libraries under torch", "copies that C++ asks for", "times")
_BLIND_WITH_CUPTI = ("lines of synchronizations in libraries under torch",)


class CudaDevice:
    """The GPU of this machine, and the sensors that watch it.

    Raises:
        NotMeasuredError: if there is no CUDA GPU.
    """

    kind = DeviceKind.CUDA

    def __init__(self) -> None:
        if not torch.cuda.is_available():
            raise NotMeasuredError(
                "There is no CUDA GPU here. Use --device virtual to run without one, or --device auto to choose."
            )

    def environment(self) -> Environment:
        """Return the versions, the GPU and its driver."""
        return environment(self.kind, torch.cuda.get_device_name())

    def sense(self, variant: str, work: Callable[[], Sequence[int]]) -> Iterator[Recording]:
        """Run `work` once under the hooks and once under CUPTI, and join the two; see `WatchedDevice.sense`."""
        recorder = Recorder(now_ns=time.time_ns)
        with _hooks(recorder):
            try:
                work()
            except BaseException:
                yield _recording(variant, recorder, _Priced(missing=_CUT_SHORT))
                raise
        priced = _Priced()
        try:
            with _listening(Recorder(now_ns=time.time_ns)), _runtime(priced):
                work()
        finally:
            # Also when cut short: the lines are whole by now.
            yield _recording(variant, recorder, priced)

    @contextlib.contextmanager
    def watch(self, variant: str) -> Iterator[list[Recording]]:
        """Watch one run with hooks and CUPTI together; see `WatchedDevice.watch`."""
        result: list[Recording] = []
        recorder, priced = Recorder(now_ns=time.time_ns), _Priced()
        try:
            with _runtime(priced), _hooks(recorder):
                yield result
        finally:
            result.append(_recording(variant, recorder, priced))

    def close(self) -> None:
        """Leave the device as it was; there is nothing to do on CUDA."""


_CUT_SHORT = "The run ended before CUPTI could measure it: lines, but no times."


@dataclass(slots=True)
class _Priced:
    """What CUPTI gave, once it has stopped."""

    trace: cupti.RuntimeTrace | None = None
    missing: str = ""
    """Why there is no trace."""


@contextlib.contextmanager
def _hooks(recorder: Recorder) -> Iterator[None]:
    """Watch with the hooks, which know lines and cost next to nothing."""
    sensors = (GpuTrace(), DebugMode(), Copies())
    with _listening(recorder):
        try:
            for sensor in sensors:
                sensor.start(recorder)
            yield
        finally:
            for sensor in sensors:
                sensor.stop()


@contextlib.contextmanager
def _listening(recorder: Recorder) -> Iterator[None]:
    """Let `recorder` number the steps and hear the ranges."""
    active.push(recorder)
    try:
        yield
    finally:
        active.pop(recorder)


@contextlib.contextmanager
def _runtime(priced: _Priced) -> Iterator[None]:
    """Watch with CUPTI, which knows times; where it is taken, run on and say so in `priced`."""
    sensor = cupti.Cupti()
    try:
        sensor.start()
    except NotMeasuredError as error:
        priced.missing = f"There are lines but no times: {error}"
        yield
        return
    active.set_profiling(True)
    try:
        with _annotation(WINDOW_RANGE):
            yield
    finally:
        active.set_profiling(False)
        try:
            priced.trace = sensor.stop()
        except NotMeasuredError as error:
            priced.missing = f"There are lines but no times: {error}"


def _annotation(name: str) -> contextlib.AbstractContextManager[object]:
    context: contextlib.AbstractContextManager[object] = torch.autograd.profiler.record_function(name)
    return context


def _recording(variant: str, hooks: Recorder, priced: _Priced) -> Recording:
    hooked = reconciled(hooks.syncs)
    if priced.trace is None:
        coverage = Coverage(_HOOKS, _BLIND_WITHOUT_CUPTI, None, _with_line(hooked))
        plain = hooks.freeze(variant, coverage, modelled=False, has_timeline=False, notes=(priced.missing,))
        return replace(plain, syncs=hooked)
    joined = join(hooked, hooks.steps, hooks.native_threads, priced.trace)
    coverage = Coverage((*_HOOKS, cupti.Cupti.name), _BLIND_WITH_CUPTI, joined.seen, _with_line(joined.syncs))
    return replace(
        hooks.freeze(variant, coverage, modelled=False),
        steps=joined.steps,
        syncs=joined.syncs,
        copies=joined.copies,
        kernels=joined.kernels,
        notes=joined.notes,
    )


_HOOKS = (GpuTrace.name, DebugMode.name, Copies.name)


def _with_line(syncs: tuple[SyncEvent, ...]) -> int:
    return sum(not event.pacing and event.stack is not None for event in syncs)
