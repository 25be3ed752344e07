"""The virtual device as a sensor, put on and taken off, and as the runner uses it: one pass gives everything."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace

from syncwatch.model.events import SyncEvent, SyncKind
from syncwatch.model.session import Coverage, DeviceKind, Environment, Recording
from syncwatch.sense import active
from syncwatch.sense.base import Sensed
from syncwatch.sense.environment import environment, extensions
from syncwatch.sense.patching import Patches
from syncwatch.sense.recorder import Recorder
from syncwatch.sense.scopes import range_hooks
from syncwatch.sense.virtual.bridge import Bridge
from syncwatch.sense.virtual.clock.memory import DeviceMemory
from syncwatch.sense.virtual.clock.rates import Rates, h200
from syncwatch.sense.virtual.engine import Engine
from syncwatch.sense.virtual.native import library
from syncwatch.sense.virtual.native.library import calls, rates_for
from syncwatch.sense.virtual.torch_api import (
    cuda_api,
    cuda_graphs,
    cuda_libraries,
    jiterator,
    refusals,
    tensor_methods,
    thread_times,
)
from syncwatch.sense.virtual.torch_api.cuda_api import DEVICE_NAME
from syncwatch.sense.virtual.triton import launch as triton_launch


class VirtualDevice:
    """A CUDA device over the host's memory: values are right, waits are known, times are modelled.

    Args:
        rates: what things cost; those of an H200 by default.
        capacity: bytes of GPU memory; those of the rates by default.
    """

    name = "virtual"
    sees = "every operator, copy and synchronization of programs on a CUDA device that is not there"
    blind_to: tuple[str, ...] = ("libraries that call CUDA themselves",)

    def __init__(self, rates: Rates | None = None, capacity: int | None = None) -> None:
        rates = rates or h200()
        self._rates = rates if capacity is None else replace(rates, capacity_bytes=capacity)
        self._machine: _Machine | None = None
        self._recorder: Recorder | None = None

    def unavailable(self) -> str | None:
        """Return why its library cannot be had here, or None."""
        return library.missing()

    @property
    def engine(self) -> Engine:
        """The engine; shared with the devices around this one.

        Raises:
            RuntimeError: if the device is not on.
        """
        if self._machine is None:
            raise RuntimeError("The virtual device is not on.")
        return self._machine.engine

    def start(self, recorder: Recorder | None = None) -> None:
        """Put the device on, and record into `recorder` if there is one.

        Raises:
            NotMeasuredError: if its library cannot be built, or Triton kernels were defined for the compiler before.
        """
        if self._machine is not None:
            return
        self._machine = _Machine.enter(self._rates)
        self.record_into(recorder)

    def stop(self) -> None:
        """Take the device off, and leave nothing patched; safe after a failed `start`."""
        if self._machine is None:
            return
        self.record_into(None)
        machine, self._machine = self._machine, None
        machine.leave()

    def record_into(self, recorder: Recorder | None) -> None:
        """Record into another recorder from now on, or into none; the device stays on."""
        engine = self.engine
        others = tuple(each for each in engine.recorders if each is not self._recorder)
        engine.record_into(others if recorder is None else (*others, recorder))
        self._recorder = recorder

    def now_ns(self) -> int:
        """Return the virtual time of the calling thread."""
        return self.engine.now_ns()


def running_engine() -> Engine | None:
    """Return the engine of the device that is on in this process, or None where there is none."""
    return None if _Machine.running is None else _Machine.running.engine


class _Machine:
    """What is on in this process: the native device, and what Python's side of torch says of it."""

    running: _Machine | None = None

    def __init__(self, rates: Rates) -> None:
        self.engine = Engine(rates, DeviceMemory(rates.capacity_bytes))
        self._bridge = Bridge(self.engine)
        self._patches = Patches()

    @classmethod
    def enter(cls, rates: Rates) -> _Machine:
        """Return the machine that is running, or start one."""
        machine = cls.running
        if machine is None:
            machine = cls(rates)
            machine._start()
            cls.running = machine
        machine.engine.active += 1
        return machine

    def leave(self) -> None:
        """End it when nobody uses it any more."""
        self.engine.active -= 1
        if not self.engine.active:
            _Machine.running = None
            self._patches.restore()

    def _start(self) -> None:
        native, engine = calls(), self.engine
        try:
            triton_launch.require_interpreter(self._patches)
            native.sw_start(rates_for(engine.rates), self._bridge.function)
            self._patches.undo_with(native.sw_stop)
            cuda_api.patch(self._patches, engine)
            cuda_graphs.patch(self._patches, engine)
            cuda_libraries.patch(self._patches, engine)
            refusals.patch(self._patches, engine)
            jiterator.patch(self._patches)
            tensor_methods.patch(self._patches)
            thread_times.patch_backward(self._patches)
            tensor_methods.patch_storages(self._patches)
            triton_launch.patch(self._patches, engine)
            thread_times.patch(self._patches, engine)
            refusals.patch_forks(self._patches, engine)
            range_hooks.install()
            self._patches.undo_with(range_hooks.uninstall)
        except BaseException:
            self._patches.restore()
            raise


_SHOWN = 3
"""Names of shared objects that are said; the rest is counted."""


class WatchedVirtualDevice:
    """The virtual device, on from its making until `close`.

    Raises:
        NotMeasuredError: if Triton kernels were defined for the compiler before.
    """

    kind = DeviceKind.VIRTUAL

    def __init__(self) -> None:
        self._device = VirtualDevice()
        self._device.start()
        # Kept, since a checkpoint's thread may look while the device is taken off.
        self._engine = self._device.engine

    def environment(self) -> Environment:
        """Return the versions, and the GPU that the device stands for."""
        return environment(self.kind, DEVICE_NAME)

    @contextlib.contextmanager
    def watch(self, variant: str, *, times: bool = True) -> Iterator[Sensed]:
        """Watch everything inside; see `WatchedDevice.watch`. The times are modelled, and cost nothing more."""
        recorder = Recorder(now_ns=self._engine.now_ns)
        allocations = self._engine.memory.allocations
        sensed = Sensed(variant, snapshot=lambda: self._frozen(variant, recorder, allocations))
        try:
            with self._recording(recorder):
                yield sensed
        finally:
            sensed.recording = self._frozen(variant, recorder, allocations)

    def lines(self, variant: str) -> AbstractContextManager[Sensed]:
        """Watch everything inside: times cost nothing more here."""
        return self.watch(variant)

    def watch_until_exit(self, notify: Callable[[SyncEvent | None], None]) -> None:
        """Call `notify` with everything from now to the end of the process; see `WatchedDevice.watch_until_exit`."""
        # A device of its own, so that the one that is watched can be taken off.
        device = VirtualDevice()
        device.start(Recorder(now_ns=device.now_ns, after=notify))

    def used(self) -> int | None:
        """Return how many kernels, copies, waits and allocations there were since it is on."""
        return self._engine.used + self._engine.memory.allocations

    def unwatched(self) -> tuple[str, ...]:
        """Return a sentence where native code took part: what its own code for CUDA waits for is not seen here."""
        known = extensions() if self.used() else ()
        if not known:
            return ()
        more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
        advice = 'Run it on a GPU, or set unwatched = "log" in the policy if it never waits.'
        said = (
            f"The native code of {', '.join(known[:_SHOWN])}{more} took part, and on the virtual device its own copies"
        )
        return (f"{said} and waits are not seen. {advice}",)

    def close(self) -> None:
        """Take the device off."""
        self._device.stop()

    @contextlib.contextmanager
    def _recording(self, recorder: Recorder) -> Iterator[None]:
        self._device.record_into(recorder)
        active.push(recorder)
        try:
            yield
        finally:
            active.pop(recorder)
            self._device.record_into(None)

    def _frozen(self, variant: str, recorder: Recorder, allocations: int) -> Recording:
        seen = sum(not event.pacing and event.kind is not SyncKind.ALLOCATION for event in recorder.syncs)
        coverage = Coverage((VirtualDevice.name,), VirtualDevice.blind_to, seen, seen)
        engine = self._engine
        used = bool(recorder.kernels or recorder.copies or seen) or engine.memory.allocations > allocations
        return recorder.freeze(variant, coverage, modelled=True, used_gpu=used, notes=tuple(sorted(engine.notes)))
