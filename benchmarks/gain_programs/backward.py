"""Reads in the backward pass, which on CUDA runs in a thread of autograd's."""

from __future__ import annotations

from typing import Any

import torch

from benchmarks.gain_programs.machine import Machine
from benchmarks.gain_programs.registry import Step, add, waits


@waits
def read_grad(value: torch.Tensor) -> object:
    return value.item()


@waits
def read_norm(grad: torch.Tensor) -> object:
    return grad.norm().item()


def read_in_function(machine: Machine) -> Step:
    """Removed: a read in the backward of a function. Stays: the GPU's work of both passes, and the host's."""
    leaf = torch.ones(1, device="cuda", requires_grad=True)
    removed = [False]

    class Reads(torch.autograd.Function):
        @staticmethod
        def forward(_ctx: Any, x: torch.Tensor) -> torch.Tensor:
            machine.gpu(300)
            return x * 2

        @staticmethod
        def backward(_ctx: Any, *grads: torch.Tensor) -> torch.Tensor:
            value = machine.gpu(400)
            if not removed[0]:
                read_grad(value)
            machine.gpu(100)
            return grads[0] * 2

    def step(_index: int, remove: bool) -> None:
        removed[0] = remove
        Reads.apply(leaf).sum().backward()  # type: ignore[no-untyped-call]
        machine.host(500)

    return step


def read_in_hook(machine: Machine) -> Step:
    """Removed: the read in a hook of a gradient; its norm is computed all the same. Stays: all work."""
    weight = torch.zeros(machine.width, machine.width, device="cuda", requires_grad=True)
    batch = torch.ones(64, machine.width, device="cuda")
    removed = [False]

    def look(grad: torch.Tensor) -> None:
        if removed[0]:
            grad.norm()
        else:
            read_norm(grad)

    weight.register_hook(look)

    def step(_index: int, remove: bool) -> None:
        removed[0] = remove
        machine.gpu(400)
        (batch @ weight).sum().backward()
        machine.gpu(100)
        machine.host(500)
        weight.grad = None

    return step


add("backward", "read-in-backward", read_in_function, "read_grad")
add("backward", "read-in-hook", read_in_hook, "read_norm")
