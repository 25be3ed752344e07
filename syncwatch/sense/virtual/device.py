"""The virtual device as a sensor: put on and taken off; devices nest and share one engine."""

from __future__ import annotations

from dataclasses import replace

from syncwatch.sense.patching import Patches
from syncwatch.sense.recorder import Recorder
from syncwatch.sense.scopes import heard_ranges
from syncwatch.sense.virtual.bridge import Bridge
from syncwatch.sense.virtual.clock.memory import Memory
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
        self.engine = Engine(rates, Memory(rates.capacity_bytes))
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
            heard_ranges.listen()
            self._patches.undo_with(heard_ranges.stop_listening)
        except BaseException:
            self._patches.restore()
            raise
