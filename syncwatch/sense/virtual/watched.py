"""The virtual device as the runner uses it: it is on from the start, and one pass gives everything."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from syncwatch.model.events import SyncEvent, SyncKind
from syncwatch.model.session import Coverage, DeviceKind, Environment, Recording
from syncwatch.sense import active
from syncwatch.sense.base import Sensed
from syncwatch.sense.environment import environment, extensions
from syncwatch.sense.recorder import Recorder
from syncwatch.sense.virtual.device import VirtualDevice
from syncwatch.sense.virtual.torch_api.cuda_api import DEVICE_NAME

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

    def sense(self, variant: str) -> AbstractContextManager[Sensed]:
        """Watch lines and modelled times of everything inside; see `WatchedDevice.sense`."""
        return self.watch(variant)

    def price(self, sensed: Sensed) -> AbstractContextManager[None]:
        """Do nothing: the times are known."""
        return contextlib.nullcontext()

    @contextlib.contextmanager
    def watch(self, variant: str) -> Iterator[Sensed]:
        """Watch everything inside; see `WatchedDevice.watch`."""
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

    def stay(self, tell: Callable[[SyncEvent | None], None]) -> None:
        """Tell of everything from now to the end of the process; see `WatchedDevice.stay`."""
        # A device of its own, so that the one that is watched can be taken off.
        device = VirtualDevice()
        device.start(Recorder(now_ns=device.now_ns, after=tell))

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
