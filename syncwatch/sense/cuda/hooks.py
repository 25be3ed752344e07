"""Watches lines by torch's own hooks alone: where CUPTI is taken, and where next to nothing may be spent."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from syncwatch.model.events import SyncEvent, SyncKind
from syncwatch.model.session import Coverage, Recording
from syncwatch.sense.base import Sensor
from syncwatch.sense.cuda.blocking_copies import BlockingCopies
from syncwatch.sense.cuda.debug_mode import DebugMode
from syncwatch.sense.cuda.explicit_waits import ExplicitWaits
from syncwatch.sense.cuda.start import is_initialized, is_used_without_torch
from syncwatch.sense.recorder import Recorder

BLIND_TO = (
    "lines of synchronizations in libraries under torch",
    "copies that C++ asks for",
    "what the GPU did, so that no idle time is known",
)


@dataclass(slots=True)
class Hooks:
    """torch's sync debug mode, and wrappers of the few calls that wait without a word from it.

    Over 354 idioms on an H200 they heard of every wait through torch.
    """

    recorder: Recorder
    names: tuple[str, ...] = ()

    @contextlib.contextmanager
    def on(self) -> Iterator[None]:
        """Watch everything inside."""
        owner = os.getpid()
        with contextlib.ExitStack() as sensors:
            found: tuple[Sensor, ...] = (DebugMode(), ExplicitWaits(), BlockingCopies())
            for sensor in found:
                sensors.callback(sensor.stop)
                sensor.start(self.recorder)
            self.names = tuple(sensor.name for sensor in found)
            try:
                yield
            finally:
                if os.getpid() != owner or sys.is_finalizing():
                    # A process that ends, or the child of a fork with what its parent put on: torch may be half gone.
                    sensors.pop_all()

    def recording(self, variant: str) -> Recording:
        """Return what was heard of so far."""
        heard = tuple(map(without_half_a_time, self.recorder.syncs))
        coverage = Coverage(self.names, BLIND_TO, *counted(heard))
        plain = self.recorder.freeze(
            variant, coverage, modelled=False, has_copies=False, has_kernels=False, used_gpu=used_gpu(heard)
        )
        return replace(plain, syncs=heard)


def counted(syncs: Sequence[SyncEvent]) -> tuple[int, int]:
    """Return how many of `syncs` are synchronizations of the program, and how many of these have a line."""
    waits = [event for event in syncs if not event.pacing and event.kind is not SyncKind.ALLOCATION]
    return len(waits), sum(event.stack is not None for event in waits)


def used_gpu(syncs: Sequence[SyncEvent]) -> bool | None:
    """Return whether the program used the GPU, as far as it can be told without a record of its work."""
    if syncs:
        return True
    return None if is_initialized() or is_used_without_torch() else False


def without_half_a_time(event: SyncEvent) -> SyncEvent:
    """Leave out when a hook heard of the wait, which tells neither how long it was nor whether it was one."""
    if event.start_ns is not None and event.end_ns is not None:
        return event
    return replace(event, start_ns=None, end_ns=None)
