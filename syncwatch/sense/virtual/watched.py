"""Answers: how does the runner use the virtual device? It is on from the start, and one pass gives everything."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager

from syncwatch.model.session import Coverage, DeviceKind, Environment, Recording
from syncwatch.sense import active
from syncwatch.sense.base import Sensed
from syncwatch.sense.environment import environment
from syncwatch.sense.native_code import extensions
from syncwatch.sense.recorder import Recorder
from syncwatch.sense.virtual.cuda_api import DEVICE_NAME
from syncwatch.sense.virtual.device import VirtualDevice

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

    def environment(self) -> Environment:
        """Return the versions, and the GPU that the device stands for."""
        return environment(self.kind, DEVICE_NAME)

    def sense(self, variant: str) -> AbstractContextManager[Sensed]:
        """Watch lines and modelled times of everything inside; see `WatchedDevice.sense`."""
        return self.watch(variant)

    def price(self, sensed: Sensed) -> AbstractContextManager[None]:
        """Do nothing: the times are known."""
        return contextlib.nullcontext()

    @contextlib.contextmanager
    def watch(self, variant: str) -> Iterator[Sensed]:
        """Watch everything inside; see `WatchedDevice.watch`."""
        recorder = Recorder(now_ns=self._device.now_ns)
        sensed = Sensed(variant, snapshot=lambda: self._frozen(variant, recorder))
        try:
            with self._recording(recorder):
                yield sensed
        finally:
            sensed.recording = self._frozen(variant, recorder)

    def lines(self, variant: str) -> AbstractContextManager[Sensed]:
        """Watch everything inside: times cost nothing more here."""
        return self.watch(variant)

    def used(self) -> int | None:
        """Return how many kernels, copies, waits and allocations there were since it is on."""
        engine = self._device.engine
        return engine.used + engine.memory.allocations

    def unwatched(self) -> tuple[str, ...]:
        """Return a sentence where native code took part: it gets CPU tensors here, and copies them unseen."""
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

    def _frozen(self, variant: str, recorder: Recorder) -> Recording:
        seen = sum(not event.pacing for event in recorder.syncs)
        coverage = Coverage((VirtualDevice.name,), VirtualDevice.blind_to, seen, seen)
        return recorder.freeze(variant, coverage, modelled=True, notes=tuple(sorted(self._device.engine.notes)))
