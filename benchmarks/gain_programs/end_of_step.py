"""What a training loop does at the end of a step: it logs a number, or waits for the device."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from benchmarks.gain_programs.machine import Machine
from benchmarks.gain_programs.registry import Step, add, waits


@waits
def log_number(loss: torch.Tensor) -> object:
    return loss.item()


@waits
def log_text(loss: torch.Tensor) -> object:
    return f"{loss:.3f}"


@waits
def wait_for_device(_loss: torch.Tensor) -> None:
    torch.cuda.synchronize()


@waits
def wait_for_stream(_loss: torch.Tensor) -> None:
    torch.cuda.current_stream().synchronize()


def ended(
    machine: Machine, end: Callable[[torch.Tensor], object], host_us: float, gpu_us: float, every: int = 1
) -> Step:
    """Removed: what ends one of so many steps. Stays: the host's work, then the GPU's.

    Not the last one of a loop, behind which the benchmark itself waits.
    """

    def step(index: int, remove: bool) -> None:
        machine.host(host_us)
        loss = machine.gpu(gpu_us)
        if not remove and index % every == every // 2:
            end(loss)

    return step


for _name, _end, _host_us, _gpu_us, _every in (
    ("log-host-bound", log_number, 1200, 300, 1),
    ("log-even", log_number, 800, 800, 1),
    ("log-gpu-bound", log_number, 200, 1500, 1),
    ("log-every-tenth-even", log_number, 800, 800, 10),
    ("log-every-tenth-gpu-bound", log_number, 200, 1500, 10),
    ("log-text", log_text, 600, 600, 1),
    ("synchronize-host-bound", wait_for_device, 1000, 200, 1),
    ("synchronize-even", wait_for_device, 800, 800, 1),
    ("synchronize-gpu-bound", wait_for_device, 900, 1800, 1),
    ("stream-synchronize", wait_for_stream, 500, 700, 1),
):
    add("end-of-step", _name, partial(ended, end=_end, host_us=_host_us, gpu_us=_gpu_us, every=_every), _end.__name__)
