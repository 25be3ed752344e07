"""One read a step, where the host is the limit, the GPU is, or neither: the number is known instead of read."""

from __future__ import annotations

from functools import partial

import torch

from benchmarks.gain_programs.machine import Machine
from benchmarks.gain_programs.registry import Step, add, waits


def read_between(machine: Machine, before_us: float, after_us: float, host_us: float) -> Step:
    """Removed: the read between two stretches of GPU work. Stays: both, and the host's work after them."""

    @waits
    def read_number(value: torch.Tensor) -> object:
        return value.item()

    def step(_index: int, remove: bool) -> None:
        value = machine.gpu(before_us)
        if not remove:
            read_number(value)
        if after_us:
            machine.gpu(after_us)
        machine.host(host_us)

    return step


def read_light(machine: Machine) -> Step:
    """Removed: the read behind 24 layers that are shorter than their launches. Stays: these, and 300 us of the host."""

    @waits
    def read_light_number(value: torch.Tensor) -> object:
        return value.item()

    def step(_index: int, remove: bool) -> None:
        value = machine.light(24)
        if not remove:
            read_light_number(value)
        machine.host(300)

    return step


def read_of_last_step(machine: Machine) -> Step:
    """Removed: the read of what the step before computed, made when this one's work is queued. Stays: all work."""
    last = [machine.gpu(10)]

    @waits
    def read_last() -> object:
        return last[0].item()

    def step(_index: int, remove: bool) -> None:
        value = machine.gpu(700)
        if not remove:
            read_last()
        last[0] = value
        machine.host(700)

    return step


for _name, _lengths in {
    "read-host-bound": (200, 0, 1000),
    "read-even": (800, 0, 800),
    "read-gpu-bound": (1500, 0, 200),
    "read-mid-step": (500, 500, 500),
    "read-before-much": (200, 1200, 300),
    "read-idle-host": (1000, 0, 0),
}.items():
    add(
        "read",
        _name,
        partial(read_between, before_us=_lengths[0], after_us=_lengths[1], host_us=_lengths[2]),
        "read_number",
    )
add("read", "read-light", read_light, "read_light_number")
add("read", "read-of-last-step", read_of_last_step, "read_last")
