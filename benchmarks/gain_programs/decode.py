"""A decode loop: light layers, so many reads in between, and host work after them (scheduling, detokenizing)."""

from __future__ import annotations

from functools import partial

import torch

from benchmarks.gain_programs.machine import Machine
from benchmarks.gain_programs.registry import Step, add, waits

_LAYERS = 42


def decode(machine: Machine, reads: int, host_ms: float) -> Step:
    """Removed: every read of a token. Stays: 42 layers a step, and the host's work."""

    @waits
    def read_token(value: torch.Tensor) -> object:
        return value.item()

    def step(_index: int, remove: bool) -> None:
        for _ in range(reads):
            value = machine.light(_LAYERS // reads)
            if not remove:
                read_token(value)
        machine.host(host_ms * 1e3)

    return step


for _reads in (1, 6, 21):
    for _host_ms in (0.2, 1.0, 3.0):
        add(
            "decode",
            f"decode-{_reads}-reads-{_host_ms:g}-ms",
            partial(decode, reads=_reads, host_ms=_host_ms),
            "read_token",
        )
