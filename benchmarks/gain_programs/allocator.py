"""Steps that hand the allocator's memory back to the driver, which the next step then asks for again."""

from __future__ import annotations

from functools import partial

import torch

from benchmarks.gain_programs.machine import Machine
from benchmarks.gain_programs.registry import Step, add, waits

_BYTES = 64 << 20


@waits
def drop_cache() -> None:
    torch.cuda.empty_cache()


@waits
def take_memory() -> torch.Tensor:
    return torch.empty(_BYTES, dtype=torch.uint8, device="cuda")


def dropped(machine: Machine, every: int) -> Step:
    """Removed: `empty_cache`, and with it the driver calls that ask for the memory again. Stays: all work."""

    def step(index: int, remove: bool) -> None:
        memory = take_memory()
        machine.gpu(600)
        del memory
        if not remove and index % every == every // 2:
            drop_cache()
        machine.host(300)

    return step


# The layers of the machine's own work ask for memory again too; no other call waits.
for _name, _every in {"empty-cache": 1, "empty-cache-every-fifth": 5}.items():
    add("allocator", _name, partial(dropped, every=_every), "drop_cache", "take_memory", "_layers", together=True)
