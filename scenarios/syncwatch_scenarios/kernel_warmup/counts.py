"""What a fresh process tells of its warm-up: counts from Triton's own hooks, and what it served after."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import triton


class Served(msgspec.Struct, frozen=True):
    """One request after the warm-up."""

    tokens: int
    compiled: int
    """Configurations that it had to wait for, in this and the next figure."""

    benchmarked: int
    first_ns: int
    """From its first launch until the device was done."""

    steady_ns: int
    """Median of the same request repeated, which tells whether the chosen configurations are good ones."""

    error: float | None
    """Relative RMSE of the output against a float64 recurrence; None where the output is not finite."""


class Warmup(msgspec.Struct, frozen=True):
    """What one fresh process with an empty cache measured."""

    warmup_ns: int
    """From the first launch until the device was done; process start and imports are not in it."""

    compiled: int
    compile_ns: int
    """Sum over the configurations; more than `warmup_ns` where they were compiled side by side."""

    cache_bytes: int
    benchmarked: int | None
    """Configurations timed on the device, in this and the next figure; None without a device."""

    refused: int | None
    """Configurations that the device had no room for."""

    choices: dict[str, str]
    """The configuration taken, for each kernel and block size; empty without a device."""

    served: tuple[Served, ...]
    """Empty without a device."""


@dataclass(slots=True)
class Counts:
    """Counts what Triton compiles and benchmarks in this process."""

    compile_ns: list[int] = field(default_factory=list)
    """Of each configuration compiled. Compilers run side by side, and to append is atomic under the GIL."""

    benchmarked: int = 0
    refused: int = 0

    def listen(self) -> None:
        """Hear of every compilation from now on."""
        triton.knobs.compilation.listener = self._on_compiled

    def benchmark(self, launch: Callable[[], None], quantiles: Sequence[float]) -> list[float]:
        """Time `launch` as Triton does by itself, and count it.

        Raises:
            triton.runtime.errors.OutOfResources: if the device has no room for it, which the autotuner catches.
        """
        try:
            times: list[float] = triton.runtime.driver.active.get_benchmarker()(launch, quantiles=quantiles)
        except triton.runtime.errors.OutOfResources:
            self.refused += 1
            raise
        self.benchmarked += 1
        return times

    @property
    def compiled(self) -> int:
        """Configurations compiled so far."""
        return len(self.compile_ns)

    def _on_compiled(self, *, times: Any, cache_hit: bool, **_: Any) -> None:
        if not cache_hit:
            self.compile_ns.append(times.total * 1000)
