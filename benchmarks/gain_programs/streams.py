"""Two streams: waits for one of them, or for an event of it, while the other may go on."""

from __future__ import annotations

import torch

from benchmarks.gain_programs.machine import Machine
from benchmarks.gain_programs.registry import Step, add, waits


@waits
def wait_for_copy(copied: torch.cuda.Event) -> None:
    copied.synchronize()


@waits
def wait_for_side(side: torch.cuda.Stream) -> None:
    side.synchronize()


@waits
def read_joined(value: torch.Tensor) -> object:
    return value.item()


@waits
def read_on_side(value: torch.Tensor) -> object:
    return value.item()


def side_copy(machine: Machine) -> Step:
    """Removed: the host's wait for a copy on a side stream. Stays: the copy, behind an event of the main stream."""
    side, copied = torch.cuda.Stream(), torch.cuda.Event()
    result, buffer = torch.zeros(1 << 16, device="cuda"), torch.zeros(1 << 16).pin_memory()

    def step(_index: int, remove: bool) -> None:
        machine.gpu(500)
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            buffer.copy_(result, non_blocking=True)
            copied.record()
        machine.gpu(300)
        if not remove:
            wait_for_copy(copied)
        machine.host(600)

    return step


def side_synchronize(machine: Machine) -> Step:
    """Removed: the wait for a side stream with light work. Stays: this, and heavy work on the main stream."""
    side = torch.cuda.Stream()

    def step(_index: int, remove: bool) -> None:
        machine.gpu(900)
        with torch.cuda.stream(side):
            machine.light(8)
        if not remove:
            wait_for_side(side)
        machine.host(500)

    return step


def fork_join(machine: Machine) -> Step:
    """Removed: the read behind two streams that were joined. Stays: the fork, the work of both, the join."""
    side = torch.cuda.Stream()

    def step(_index: int, remove: bool) -> None:
        main = torch.cuda.current_stream()
        side.wait_stream(main)
        with torch.cuda.stream(side):
            machine.light(12)
        value = machine.gpu(500)
        main.wait_stream(side)
        if not remove:
            read_joined(value)
        machine.host(500)

    return step


def side_read(machine: Machine) -> Step:
    """Removed: a read on a side stream, while the main stream has a long queue. Stays: the work of both."""
    side = torch.cuda.Stream()

    def step(_index: int, remove: bool) -> None:
        machine.gpu(1000)
        with torch.cuda.stream(side):
            value = machine.light(4)
            if not remove:
                read_on_side(value)
        machine.host(400)

    return step


add("stream", "side-copy", side_copy, "wait_for_copy")
add("stream", "side-synchronize", side_synchronize, "wait_for_side")
add("stream", "fork-join", fork_join, "read_joined")
add("stream", "read-on-side", side_read, "read_on_side")
