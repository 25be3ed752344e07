"""Steps of generation and routing as libraries write them; no figure was chosen with these at hand."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from benchmarks.gain_programs.machine import Machine
from benchmarks.gain_programs.registry import Step, add, waits

_VOCABULARY, _ROWS, _EXPERTS, _CLASSES = 32_000, 16, 8, 128


class Batch:
    """Logits of some sequences, and what a step asks of them."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.logits = torch.rand(_ROWS, machine.numbers(_VOCABULARY), device="cuda")
        self.unfinished = torch.ones(_ROWS, dtype=torch.bool, device="cuda")
        self.experts = torch.arange(512, device="cuda") % _EXPERTS
        self.labels = torch.arange(512, device="cuda") % _CLASSES
        self.length = torch.tensor(48, device="cuda")
        self.table = torch.zeros(64, 64, device="cuda")
        self.per_expert = [512 // _EXPERTS] * _EXPERTS


Part = Callable[[Batch, bool], None]


@waits
def read_top_k(top: torch.Tensor) -> object:
    return top.tolist()


@waits
def is_finished(unfinished: torch.Tensor) -> bool:
    return bool(unfinished.max() == 0)


@waits
def all_accepted(batch: Batch) -> bool:
    return bool(batch.unfinished.all())


@waits
def read_counts(counts: torch.Tensor) -> list[int]:
    found: list[int] = counts.tolist()
    return found


@waits
def cut(batch: Batch) -> torch.Tensor:
    return batch.table[: batch.length]


@waits
def encode(batch: Batch) -> torch.Tensor:
    return torch.nn.functional.one_hot(batch.labels)


def _top_k(batch: Batch, remove: bool) -> None:
    top = torch.topk(batch.logits, 8).indices
    if not remove:
        read_top_k(top)


def _early_stop(batch: Batch, remove: bool) -> None:
    batch.logits.argmax(-1)
    if remove:
        torch.eq(batch.unfinished.max(), 0)
    else:
        is_finished(batch.unfinished)


def _accept(batch: Batch, remove: bool) -> None:
    if remove:
        batch.unfinished.all()
    elif not all_accepted(batch):
        raise AssertionError("every draft is accepted")


def _route(batch: Batch, remove: bool) -> None:
    counts = torch.zeros(_EXPERTS, dtype=torch.long, device="cuda")
    counts.scatter_add_(0, batch.experts, torch.ones_like(batch.experts))
    for rows in batch.per_expert if remove else read_counts(counts):
        batch.machine.light(rows // 32)


def _cut(batch: Batch, remove: bool) -> None:
    found = batch.table[:48] if remove else cut(batch)
    found.add_(1)


def _one_hot(batch: Batch, remove: bool) -> None:
    if remove:
        # `one_hot` looks for the least and the greatest label where it is not told how many there are.
        batch.labels.min()
        batch.labels.max()
        torch.zeros(512, _CLASSES, dtype=torch.long, device="cuda").scatter_(1, batch.labels[:, None], 1)
    else:
        encode(batch)


def sampled(machine: Machine, part: Part, gpu_us: float = 400, host_us: float = 400) -> Step:
    """Removed: what the host reads of the batch. Stays: what the GPU computes for it, and all other work."""
    batch = Batch(machine)

    def step(_index: int, remove: bool) -> None:
        machine.gpu(gpu_us)
        part(batch, remove)
        machine.gpu(100)
        machine.host(host_us)

    return step


for _name, _part, _wait in (
    ("top-k-tolist", _top_k, read_top_k),
    ("early-stop", _early_stop, is_finished),
    ("accept-all", _accept, all_accepted),
    ("expert-counts", _route, read_counts),
    ("slice-by-tensor", _cut, cut),
    ("one-hot", _one_hot, encode),
):
    add("sampling", _name, partial(sampled, part=_part), _wait.__name__)
add("sampling", "top-k-tolist-host-bound", partial(sampled, part=_top_k, gpu_us=100, host_us=1500), "read_top_k")
