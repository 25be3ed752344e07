"""The host waits for an event of an earlier step, so that it is never more than some steps ahead.

Where the ring is long enough, the wait gains nothing, however long the GPU idles behind it.
"""

from __future__ import annotations

from functools import partial

import torch

from benchmarks.gain_programs.machine import Machine
from benchmarks.gain_programs.registry import Step, add, waits


def ring(machine: Machine, events: int, gpu_us: float, host_us: float) -> Step:
    """Removed: the wait for the event that was recorded as many steps ago as there are buffers. Stays: all work."""
    recorded = [torch.cuda.Event() for _ in range(events)]
    for event in recorded:
        event.record()

    @waits
    def pace(event: torch.cuda.Event) -> None:
        event.synchronize()

    def step(index: int, remove: bool) -> None:
        event = recorded[index % events]
        if not remove:
            pace(event)
        machine.host(host_us)
        machine.gpu(gpu_us)
        event.record()

    return step


def stream_pace(machine: Machine) -> Step:
    """Removed: the wait for the whole stream before the host's work of a step. Stays: all work."""

    @waits
    def pace_stream() -> None:
        torch.cuda.current_stream().synchronize()

    def step(_index: int, remove: bool) -> None:
        if not remove:
            pace_stream()
        machine.host(900)
        machine.gpu(400)

    return step


for _name, _numbers in {
    "ring-of-two-host-bound": (2, 200, 1500),
    "ring-of-two-even": (2, 900, 900),
    "ring-of-two-gpu-bound": (2, 1500, 300),
    "ring-of-one-host-bound": (1, 200, 1000),
    "ring-of-one-even": (1, 800, 800),
    "ring-of-one-gpu-bound": (1, 1200, 300),
}.items():
    add("pacing", _name, partial(ring, events=_numbers[0], gpu_us=_numbers[1], host_us=_numbers[2]), "pace")
add("pacing", "stream-pace", stream_pace, "pace_stream")
