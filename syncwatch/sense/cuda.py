"""Answers: how is a CUDA GPU watched? Puts the sensors on, takes them off, and joins what they saw."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

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
                yield _recording(variant, recorder, None, (_CUT_SHORT,))
                raise
        try:
            with _listening(Recorder(now_ns=time.time_ns)), _runtime() as traces:
                work()
        except BaseException as error:
            yield _recording(variant, recorder, None, (_no_prices(error),))
            if not isinstance(error, NotMeasuredError):
                raise
        else:
            yield _recording(variant, recorder, traces[0])

    @contextlib.contextmanager
    def watch(self, variant: str) -> Iterator[list[Recording]]:
        """Watch one run with hooks and CUPTI together; see `WatchedDevice.watch`."""
        result: list[Recording] = []
        with contextlib.ExitStack() as stack:
            recorder, traces, notes = Recorder(now_ns=time.time_ns), list[cupti.RuntimeTrace](), list[str]()
            # Runs after both sensors have stopped, however the block ended.
            stack.callback(lambda: result.append(_recording(variant, recorder, _only(traces), tuple(notes))))
            try:
                traces = stack.enter_context(_runtime())
            except NotMeasuredError as error:
                notes.append(_no_prices(error))
            stack.enter_context(_hooks(recorder))
            yield result

    def close(self) -> None:
        """Leave the device as it was; there is nothing to do on CUDA."""


_CUT_SHORT = "The run ended before CUPTI could measure it: lines, but no times."


def _no_prices(error: BaseException) -> str:
    return f"CUPTI gave no times, so no prices: {error or type(error).__name__}"


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
def _runtime() -> Iterator[list[cupti.RuntimeTrace]]:
    """Watch with CUPTI, which knows times; the yielded list holds the trace once the block has ended."""
    sensor, result = cupti.Cupti(), list[cupti.RuntimeTrace]()
    torch.cuda.synchronize()
    sensor.start()
    active.set_profiling(True)
    try:
        with _annotation(WINDOW_RANGE):
            yield result
    finally:
        active.set_profiling(False)
        result.append(sensor.stop())


def _only(traces: list[cupti.RuntimeTrace]) -> cupti.RuntimeTrace | None:
    return traces[0] if traces else None


def _annotation(name: str) -> contextlib.AbstractContextManager[object]:
    context: contextlib.AbstractContextManager[object] = torch.autograd.profiler.record_function(name)
    return context


def _recording(
    variant: str, hooks: Recorder, trace: cupti.RuntimeTrace | None, notes: tuple[str, ...] = ()
) -> Recording:
    hooked = reconciled(hooks.syncs)
    if trace is None:
        coverage = Coverage(_HOOKS, _BLIND_WITHOUT_CUPTI, None, _with_line(hooked))
        plain = hooks.freeze(variant, coverage, modelled=False, has_timeline=False, notes=notes)
        return replace(plain, syncs=hooked)
    joined = join(hooked, hooks.steps, hooks.native_threads, trace)
    coverage = Coverage((*_HOOKS, cupti.Cupti.name), _BLIND_WITH_CUPTI, joined.seen, _with_line(joined.syncs))
    return replace(
        hooks.freeze(variant, coverage, modelled=False),
        steps=joined.steps,
        syncs=joined.syncs,
        copies=joined.copies,
        kernels=joined.kernels,
        notes=notes + joined.notes,
    )


_HOOKS = (GpuTrace.name, DebugMode.name, Copies.name)


def _with_line(syncs: tuple[SyncEvent, ...]) -> int:
    return sum(not event.pacing and event.stack is not None for event in syncs)
