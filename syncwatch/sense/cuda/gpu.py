"""Watches a CUDA GPU: puts the sensors on, takes them off, and joins what they saw."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch

from syncwatch.errors import NotMeasuredError
from syncwatch.model.events import SyncEvent, SyncKind
from syncwatch.model.session import Coverage, DeviceKind, Environment, Recording
from syncwatch.sense import active
from syncwatch.sense.base import Sensed, Sensor
from syncwatch.sense.cuda.blocking_copies import BlockingCopies
from syncwatch.sense.cuda.cupti_records import Cupti
from syncwatch.sense.cuda.debug_mode import DebugMode
from syncwatch.sense.cuda.explicit_waits import ExplicitWaits
from syncwatch.sense.cuda.join import HookedWaits, join
from syncwatch.sense.cuda.join_run import join_run
from syncwatch.sense.cuda.runtime_calls import RuntimeCalls
from syncwatch.sense.cuda.runtime_trace import RuntimeTrace
from syncwatch.sense.cuda.start import has_gpu, is_initialized, is_used_without_torch
from syncwatch.sense.environment import environment
from syncwatch.sense.recorder import Recorder
from syncwatch.sense.scopes import range_hooks

_LIBRARIES = "lines of synchronizations in libraries under torch"
_C_COPIES = "copies that C++ asks for"
_TIMES = "what the GPU did, so that no idle time is known"


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
        self._hooked: dict[str, _Hooks] = {}
        self._failures: list[str] = []

    def environment(self) -> Environment:
        """Return the versions, the GPU and its driver; without the GPU's name while the program does not use it."""
        return environment(self.kind, torch.cuda.get_device_name() if is_initialized() else None)

    @contextlib.contextmanager
    def sense(self, variant: str) -> Iterator[Sensed]:
        """Watch the lines with CUPTI's callbacks, or where CUPTI is taken with torch's debug mode."""
        hooks = self._hooked[variant] = _Hooks(Recorder(now_ns=time.time_ns), self._failures)
        sensed = Sensed(variant, snapshot=lambda: _recording(variant, hooks, None, _NOT_YET))
        try:
            with hooks.on(callbacks=True):
                yield sensed
        finally:
            sensed.recording = _recording(variant, hooks, None, _NOT_YET)

    @contextlib.contextmanager
    def price(self, sensed: Sensed) -> Iterator[None]:
        """Watch the times with CUPTI's activity records."""
        # Kept: what was sensed may be priced again.
        hooks = self._hooked[sensed.variant]
        priced = _Priced(Recorder(now_ns=time.time_ns))
        try:
            with _listening(priced.recorder), _runtime(priced):
                yield
        finally:
            sensed.recording = _recording(sensed.variant, hooks, priced, priced.missing)

    @contextlib.contextmanager
    def watch(self, variant: str) -> Iterator[Sensed]:
        """Watch one run with torch's hooks and CUPTI's activity records together."""
        hooks = _Hooks(Recorder(now_ns=time.time_ns))
        sensed = Sensed(variant, snapshot=lambda: _recording(variant, hooks, None, _NOT_YET))
        priced = _Priced(hooks.recorder)
        try:
            with _runtime(priced), hooks.on(callbacks=False):
                yield sensed
        finally:
            sensed.recording = _recording(variant, hooks, priced, priced.missing)

    @contextlib.contextmanager
    def lines(self, variant: str) -> Iterator[Sensed]:
        """Watch the lines alone, with torch's hooks, which cost next to nothing where nothing waits."""
        hooks = _Hooks(Recorder(now_ns=time.time_ns))
        sensed = Sensed(variant, snapshot=lambda: _lines(variant, hooks))
        try:
            with hooks.on(callbacks=False):
                yield sensed
        finally:
            sensed.recording = _lines(variant, hooks)

    def watch_until_exit(self, notify: Callable[[SyncEvent | None], None]) -> None:
        """Call `notify` with every wait that torch's hooks see from now on; see `WatchedDevice.watch_until_exit`."""
        staying = _Hooks(Recorder(now_ns=time.time_ns, after=notify)).on(callbacks=False)
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

_NOT_YET = "The price pass did not run: there are lines, but no idle times."


@dataclass(slots=True)
class _Hooks:
    """The sensors that know lines, and what they gave."""

    recorder: Recorder
    failures: list[str] = field(default_factory=list)
    """What went wrong while a call was looked at."""
    names: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def on(self, *, callbacks: bool) -> Iterator[None]:
        """Watch with the hooks; with CUPTI's callbacks too if they are asked for and free."""
        with _listening(self.recorder), contextlib.ExitStack() as sensors:
            waits = self._callbacks() if callbacks else None
            # The callbacks see all that torch's own hooks see; with them a read would cost 3 us more.
            own: tuple[Sensor, ...] = (DebugMode(), ExplicitWaits()) if waits is None else (waits,)
            found = (*own, BlockingCopies())
            for sensor in found:
                sensors.callback(sensor.stop)
                if sensor is not waits:
                    sensor.start(self.recorder)
            self.names = tuple(sensor.name for sensor in found)
            yield

    def _callbacks(self) -> RuntimeCalls | None:
        """Return CUPTI's callbacks, started; None where CUPTI is taken, with a note."""
        sensor = RuntimeCalls(self.failures)
        try:
            sensor.start(self.recorder)
        except NotMeasuredError as error:
            self.notes.append(f"Waits in libraries under torch have no line: {error}")
            return None
        return sensor

    @property
    def sees_driver(self) -> bool:
        """Whether every driver call was seen."""
        return RuntimeCalls.name in self.names


@dataclass(slots=True)
class _Priced:
    """What CUPTI's activity records gave, once they have stopped."""

    recorder: Recorder
    """Heard the ranges of this pass."""
    trace: RuntimeTrace | None = None
    ahead_ns: int = 0
    """By how much the clock of `trace` is ahead of the recorder's."""
    missing: str = ""
    """Why there is no trace."""


@contextlib.contextmanager
def _listening(recorder: Recorder) -> Iterator[None]:
    """Let `recorder` number the steps and hear the ranges."""
    active.push(recorder)
    try:
        with range_hooks.installed():
            yield
    finally:
        active.pop(recorder)


@contextlib.contextmanager
def _runtime(priced: _Priced) -> Iterator[None]:
    """Watch with CUPTI, which knows times; where it is taken, run on and say so in `priced`."""
    sensor = Cupti()
    try:
        sensor.start()
    except NotMeasuredError as error:
        priced.missing = f"There are lines but no idle times: {error}"
        yield
        return
    try:
        yield
    finally:
        try:
            priced.trace, priced.ahead_ns = sensor.stop()
        except NotMeasuredError as error:
            priced.missing = f"There are lines but no idle times: {error}"


def _recording(variant: str, hooks: _Hooks, priced: _Priced | None, missing: str) -> Recording:
    recorder = hooks.recorder
    recorder.flush()
    hooked = tuple(recorder.syncs)
    if priced is None or priced.trace is None:
        hooked = tuple(map(_without_half_a_time, hooked))
        blind: tuple[str, ...] = (_TIMES,) if hooks.sees_driver else (_LIBRARIES, _C_COPIES, _TIMES)
        coverage = Coverage(hooks.names, blind, _count(hooked) if hooks.sees_driver else None, _with_line(hooked))
        notes = (*hooks.notes, missing)
        plain = recorder.freeze(
            variant,
            coverage,
            modelled=False,
            has_copies=hooks.sees_driver,
            has_kernels=False,
            used_gpu=_used_gpu(hooked),
            notes=notes,
        )
        return replace(plain, syncs=hooked)
    plain = recorder.freeze(variant, Coverage((), (), None, 0), modelled=False)
    seen = HookedWaits(
        hooked,
        plain.copies if hooks.sees_driver and plain.copies else (),
        plain.steps,
        plain.threads,
        recorder.native_threads,
        complete=hooks.sees_driver,
    )
    one_run = priced.recorder is recorder
    joined = join_run(seen, priced.trace, priced.ahead_ns) if one_run else join(seen, priced.trace)
    return replace(
        plain,
        coverage=Coverage(
            (*hooks.names, Cupti.name),
            () if hooks.sees_driver else (_LIBRARIES,),
            joined.seen,
            _with_line(joined.syncs),
        ),
        steps=joined.steps,
        syncs=joined.syncs,
        copies=joined.copies,
        kernels=joined.kernels,
        threads=joined.threads,
        # A wait without a line may be the profiler's own.
        used_gpu=bool(joined.kernels or joined.copies) or any(event.stack is not None for event in joined.syncs),
        ranges=priced.recorder.every_range(),
        notes=(*hooks.notes, *joined.notes),
    )


def _lines(variant: str, hooks: _Hooks) -> Recording:
    """Return what torch's hooks saw and counted; over 354 idioms on an H200 that was every wait through torch."""
    hooked = tuple(map(_without_half_a_time, hooks.recorder.syncs))
    coverage = Coverage(hooks.names, (_LIBRARIES, _C_COPIES, _TIMES), _count(hooked), _with_line(hooked))
    plain = hooks.recorder.freeze(
        variant, coverage, modelled=False, has_copies=False, has_kernels=False, used_gpu=_used_gpu(hooked)
    )
    return replace(plain, syncs=hooked)


def _used_gpu(hooked: Sequence[SyncEvent]) -> bool | None:
    """Return whether the program used the GPU, as far as it can be told without a record of its work."""
    if hooked:
        return True
    return None if is_initialized() or is_used_without_torch() else False


def _without_half_a_time(event: SyncEvent) -> SyncEvent:
    """Leave out when a hook heard of the wait, which tells neither how long it was nor whether it was one."""
    if event.start_ns is not None and event.end_ns is not None:
        return event
    return replace(event, start_ns=None, end_ns=None)


def _is_sync(event: SyncEvent) -> bool:
    return not event.pacing and event.kind is not SyncKind.ALLOCATION


def _count(syncs: Sequence[SyncEvent]) -> int:
    return sum(_is_sync(event) for event in syncs)


def _with_line(syncs: Sequence[SyncEvent]) -> int:
    return sum(_is_sync(event) and event.stack is not None for event in syncs)
