"""Results whose size only the GPU knows, against the same with the size that the host knew before."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from benchmarks.gain_programs.machine import Machine
from benchmarks.gain_programs.registry import Step, add, waits

_NUMBERS = 1 << 18


class Data:
    """A tensor, a mask that takes every third number of it, and how many that are."""

    def __init__(self, machine: Machine) -> None:
        count = machine.numbers(_NUMBERS)
        self.x = torch.ones(count, device="cuda")
        self.mask = torch.arange(count, device="cuda") % 3 == 0
        self.size = (count + 2) // 3
        self.values = torch.ones(self.size, device="cuda")
        self.repeats = torch.arange(4096, device="cuda") % 4
        self.repeated = 4096 // 4 * 6

    def places(self) -> torch.Tensor:
        """Return where the mask is true, without a wait."""
        return torch.nonzero_static(self.mask, size=self.size).squeeze(1)


Act = Callable[[Data], object]


@waits
def take_masked(data: Data) -> object:
    return data.x[data.mask]


@waits
def put_masked(data: Data) -> object:
    data.x[data.mask] = data.values
    return None


@waits
def find_true(data: Data) -> object:
    return torch.nonzero(data.mask)


@waits
def select_masked(data: Data) -> object:
    return torch.masked_select(data.x, data.mask)


@waits
def find_where(data: Data) -> object:
    return torch.where(data.mask)


@waits
def repeat(data: Data) -> object:
    return torch.repeat_interleave(data.repeats)


def _put(data: Data) -> object:
    return data.x.index_put_((data.places(),), data.values)


def _repeat(data: Data) -> object:
    return torch.repeat_interleave(data.repeats, output_size=data.repeated)


def masked(machine: Machine, act: Act, known: Act) -> Step:
    """Removed: the wait for the size of a result. Stays: the result, by `nonzero_static` or `output_size`."""
    data = Data(machine)

    def step(_index: int, remove: bool) -> None:
        machine.gpu(500)
        (known if remove else act)(data)
        machine.gpu(100)
        machine.host(500)

    return step


for _name, _act, _known in (
    ("mask-read", take_masked, lambda data: data.x[data.places()]),
    ("mask-write", put_masked, _put),
    ("nonzero", find_true, Data.places),
    ("masked-select", select_masked, lambda data: data.x.index_select(0, data.places())),
    ("where", find_where, Data.places),
    ("repeat-interleave", repeat, _repeat),
):
    add("mask", _name, partial(masked, act=_act, known=_known), _act.__name__)
