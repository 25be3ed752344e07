"""Times a program with its waits and without, unwatched, and records it with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.gain_programs.machine import CudaMachine, Machine, VirtualMachine
from benchmarks.gain_programs.registry import Program, Step
from syncwatch.model.session import DeviceKind, Session
from syncwatch.sense.base import WatchedDevice
from syncwatch.sense.scopes.ranges import pacing, step

WARMUP = 3
_LOOP_US, _FEWEST, _MOST = 60_000, 40, 400
"""A loop is long enough that its ends, where the queue fills and drains, are 1 in 40 steps or less."""
_ESTIMATED = 8
_RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Truth:
    """What removing the waits gains, in microseconds a step."""

    with_us: float
    without_us: float
    gain_us: float
    interval_us: tuple[float, float]
    """Bootstrap 95 % interval of `gain_us` over the rounds; no wider than the figure where the clock is modelled."""


@dataclass(frozen=True, slots=True)
class Built:
    """A program on a device."""

    program: Program
    machine: Machine
    step: Step

    def loop(self, count: int, *, remove: bool) -> float:
        """Return the microseconds a step of `count` of them, from an empty queue to an empty queue."""
        torch.cuda.synchronize()
        start = self.machine.now_ns()
        for index in range(count):
            self.step(index, remove)
        self.settle()
        torch.cuda.synchronize()
        return (self.machine.now_ns() - start) / count / 1e3

    def settle(self) -> None:
        """Wait until other threads of the program have nothing to do."""
        for settled in self.machine.settled:
            settled()

    def count(self) -> int:
        """Warm up both ways, and return how many steps a loop shall have."""
        for remove in (False, True):
            self.loop(WARMUP, remove=remove)
        return min(_MOST, max(_FEWEST, round(_LOOP_US / self.loop(_ESTIMATED, remove=False))))

    def times(self, rounds: range, count: int) -> list[tuple[float, float]]:
        """Time both ways in turn, every second round in reverse, and return the times of each round, with first.

        Once where the clock is modelled and does not vary.
        """
        modelled = isinstance(self.machine, VirtualMachine)
        found = []
        for number in rounds[:1] if modelled else rounds:
            order = (False, True) if number % 2 == 0 else (True, False)
            times = {remove: self.loop(count, remove=remove) for remove in order}
            found.append((times[False], times[True]))
        return found

    def recorded(self, device: WatchedDevice, count: int) -> Session:
        """Record `count` steps with their waits; the queue is not drained between them."""
        with device.watch(self.program.name) as sensed:
            with pacing():
                torch.cuda.synchronize()
            for index in range(WARMUP + count):
                with step(warmup=index < WARMUP):
                    self.step(index, False)
            self.settle()
            with pacing():
                torch.cuda.synchronize()
        if sensed.recording is None:
            raise RuntimeError(f"{self.program.name} was not recorded")
        return session_of(self.program.name, device, sensed.recording)


def session_of(name: str, device: WatchedDevice, *recordings: object) -> Session:
    """Return a session of recordings."""
    return Session(name, device.kind, device.environment(), recordings, None, True)  # type: ignore[arg-type]


def machine_on(device: DeviceKind) -> Machine:
    """Return a machine for one program."""
    return VirtualMachine() if device is DeviceKind.VIRTUAL else CudaMachine()


@contextmanager
def built(program: Program, device: DeviceKind) -> Iterator[Built]:
    """Build a program for the block; its threads end with it."""
    machine = machine_on(device)
    try:
        yield Built(program, machine, program.build(machine))
    finally:
        for end in machine.ended:
            end()


def truth_of(rounds: Sequence[tuple[float, float]]) -> Truth:
    """Return the gain that the rounds tell: the median of what each gained, since a host slows down for seconds.

    Args:
        rounds: microseconds a step with the waits and without, of each round.
    """
    columns = np.array(rounds)
    gained = columns[:, 0] - columns[:, 1]
    drawn = np.random.default_rng(1).integers(0, len(gained), (_RESAMPLES, len(gained)))
    low, high = np.percentile(np.median(gained[drawn], axis=1), (2.5, 97.5))
    before, after = np.median(columns, axis=0)
    return Truth(float(before), float(after), float(np.median(gained)), (float(low), float(high)))
