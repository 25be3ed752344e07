"""Several reads a step at different lines: one of them is removed, or all; what is left may wait instead of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from benchmarks.gain_programs.machine import Machine
from benchmarks.gain_programs.registry import Step, add, waits


@waits
def read_first(value: torch.Tensor) -> object:
    return value.item()


@waits
def read_second(value: torch.Tensor) -> object:
    return value.item()


@waits
def read_third(value: torch.Tensor) -> object:
    return value.item()


Read = Callable[[torch.Tensor], object]
_ALL: tuple[Read, ...] = (read_first, read_second, read_third)


def three(machine: Machine, removed: tuple[int, ...], gpu_us: float = 300, host_us: float = 200) -> Step:
    """Removed: some of three reads. Stays: before each some GPU work, after each some host work."""

    def step(_index: int, remove: bool) -> None:
        for place, read in enumerate(_ALL):
            value = machine.gpu(gpu_us)
            if not (remove and place in removed):
                read(value)
            machine.host(host_us)

    return step


def twins(machine: Machine, removed: tuple[int, ...]) -> Step:
    """Removed: one of two reads in a row, or both. Stays: all work; where one is left, it waits as long as both did."""

    def step(_index: int, remove: bool) -> None:
        value = machine.gpu(700)
        for place, read in enumerate(_ALL[:2]):
            if not (remove and place in removed):
                read(value)
        machine.host(500)

    return step


def chain(machine: Machine, removed: tuple[int, ...]) -> Step:
    """Removed: the second of two reads, or both. Stays: the layers whose number the first read decides."""

    def step(_index: int, remove: bool) -> None:
        value = machine.gpu(300)
        layers = 24 if remove and 0 in removed else 24 + (read_first(value) is None)
        machine.host(100)
        value = machine.light(layers)
        if not (remove and 1 in removed):
            read_second(value)
        machine.gpu(300)
        machine.host(200)

    return step


def uneven(machine: Machine) -> Step:
    """Removed: the cheap one of two reads, behind little work. Stays: the other, behind much."""

    def step(_index: int, remove: bool) -> None:
        value = machine.gpu(40)
        if not remove:
            read_first(value)
        machine.host(50)
        read_second(machine.gpu(900))
        machine.host(400)

    return step


add("several", "first-of-three", partial(three, removed=(0,)), "read_first")
add("several", "second-of-three", partial(three, removed=(1,)), "read_second")
add("several", "last-of-three", partial(three, removed=(2,)), "read_third")
add(
    "several",
    "all-of-three",
    partial(three, removed=(0, 1, 2)),
    "read_first",
    "read_second",
    "read_third",
    together=True,
)
add("several", "last-of-three-gpu-bound", partial(three, removed=(2,), gpu_us=500, host_us=60), "read_third")
add("several", "first-of-twins", partial(twins, removed=(0,)), "read_first")
add("several", "second-of-twins", partial(twins, removed=(1,)), "read_second")
add("several", "both-twins", partial(twins, removed=(0, 1)), "read_first", "read_second", together=True)
add("several", "second-of-chain", partial(chain, removed=(1,)), "read_second")
add("several", "both-of-chain", partial(chain, removed=(0, 1)), "read_first", "read_second", together=True)
add("several", "cheap-before-dear", uneven, "read_first")
