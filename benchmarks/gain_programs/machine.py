"""What the programs work with: GPU work and host work of given lengths, and a clock, on a GPU or the virtual device."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import torch

_WIDTH = 2048
_HEAVY_ROWS, _LIGHT_ROWS = 2048, 64
_CALIBRATION_LAYERS = 300
_VIRTUAL_NUMBERS = 4096
_HEAVY_NS, _LIGHT_NS = (28_000, 6_000), (6_000, 2_000)
"""A product and a SiLU on an H200, as far as its rates tell; what the modelled kernels take."""


class Machine(Protocol):
    """The device that a program runs on."""

    width: int
    """Of the layers of a model: small where the host computes what the GPU would."""
    settled: list[Callable[[], object]]
    """Called at the end of a loop, before its last wait: for threads that still have work."""
    ended: list[Callable[[], object]]
    """Called when the program is over."""

    def gpu(self, us: float) -> torch.Tensor:
        """Launch products of matrices that take the current stream `us` in all; return a number of the result."""

    def light(self, layers: int) -> torch.Tensor:
        """Launch so many layers, each shorter than its launch; return a number of the result."""

    def host(self, us: float) -> None:
        """Let the host compute for `us`, without giving up its core."""

    def numbers(self, count: int) -> int:
        """Return `count`, or fewer where the host computes what the GPU would."""

    def now_ns(self) -> int:
        """Return the time of the calling thread."""


class CudaMachine:
    """A GPU: real kernels, whose number is chosen by what one takes."""

    def __init__(self) -> None:
        self.width = _WIDTH
        self.settled: list[Callable[[], object]] = []
        self.ended: list[Callable[[], object]] = []
        generator = torch.Generator("cuda").manual_seed(0)
        shapes = ((_HEAVY_ROWS, _WIDTH), (_LIGHT_ROWS, _WIDTH), (_WIDTH, _WIDTH))
        self._heavy, self._light, self._weight = (
            torch.randn(shape, generator=generator, device="cuda", dtype=torch.bfloat16) for shape in shapes
        )
        # Keeps the numbers of a long chain of layers in range.
        self._weight *= 1.7 / _WIDTH**0.5
        self._layers(self._heavy, _CALIBRATION_LAYERS)
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        self._layers(self._heavy, _CALIBRATION_LAYERS)
        end.record()
        torch.cuda.synchronize()
        self.layer_us = start.elapsed_time(end) * 1e3 / _CALIBRATION_LAYERS

    def gpu(self, us: float) -> torch.Tensor:
        return self._layers(self._heavy, max(1, round(us / self.layer_us)))

    def light(self, layers: int) -> torch.Tensor:
        return self._layers(self._light, layers)

    def host(self, us: float) -> None:
        end = time.perf_counter_ns() + us * 1e3
        while time.perf_counter_ns() < end:
            pass

    def numbers(self, count: int) -> int:
        return count

    def now_ns(self) -> int:
        return time.perf_counter_ns()

    def _layers(self, hidden: torch.Tensor, count: int) -> torch.Tensor:
        for _ in range(count):
            hidden = torch.nn.functional.silu(hidden @ self._weight)
        return hidden[0, 0]


class VirtualMachine:
    """The virtual device: kernels of a modelled length, and host work that moves the virtual clock.

    Raises:
        RuntimeError: if the virtual device is not on.
    """

    def __init__(self) -> None:
        # Not where the program runs on a GPU.
        from syncwatch.sense.virtual.device import running_engine

        engine = running_engine()
        if engine is None:
            raise RuntimeError("the virtual device is not on")
        self.width = 32
        self.settled: list[Callable[[], object]] = []
        self.ended: list[Callable[[], object]] = []
        self._engine = engine
        self._value = torch.ones((), device="cuda")

    def gpu(self, us: float) -> torch.Tensor:
        return self._layers(_HEAVY_NS, max(1, round(us * 1e3 / sum(_HEAVY_NS))))

    def light(self, layers: int) -> torch.Tensor:
        return self._layers(_LIGHT_NS, layers)

    def host(self, us: float) -> None:
        self._engine.clock.work(round(us * 1e3))

    def numbers(self, count: int) -> int:
        return min(count, _VIRTUAL_NUMBERS)

    def now_ns(self) -> int:
        return self._engine.now_ns()

    def _layers(self, lengths_ns: tuple[int, int], count: int) -> torch.Tensor:
        for _ in range(count):
            self._engine.kernel("product", lengths_ns[0])
            self._engine.kernel("silu", lengths_ns[1])
        return self._value
