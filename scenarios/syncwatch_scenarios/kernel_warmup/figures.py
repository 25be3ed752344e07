"""What a fresh process tells of its warm-up, from Triton's own hooks, and the figures and words for several of them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
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


Figures = Mapping[str, float | None]
"""Name to value; None where it was not measured."""


def figures_of(warmups: Sequence[Warmup], syncs: tuple[float, float] | None) -> Figures:
    """Return medians over fresh processes of one variant.

    Args:
        warmups: at least one.
        syncs: waits of one warm-up, and of the requests served after it; None where they were not watched.

    Returns:
        warmup_s, compile_s (the sum over configurations), configurations_{compiled, benchmarked, refused}, cache_bytes,
        {warmup, serving}_syncs, serving_{compiled, benchmarked, error}, and for each length T served
        {first, steady}_request_ms_T.
    """
    served = [each for warmup in warmups for each in warmup.served]
    figures: dict[str, float | None] = {
        "warmup_s": statistics.median(each.warmup_ns for each in warmups) / 1e9,
        "compile_s": statistics.median(each.compile_ns for each in warmups) / 1e9,
        "configurations_compiled": statistics.median(each.compiled for each in warmups),
        "configurations_benchmarked": _median([each.benchmarked for each in warmups]),
        "configurations_refused": _median([each.refused for each in warmups]),
        "cache_bytes": statistics.median(each.cache_bytes for each in warmups),
        "warmup_syncs": None if syncs is None else syncs[0],
        "serving_syncs": None if syncs is None else syncs[1],
        "serving_compiled": max((each.compiled for each in served), default=None),
        "serving_benchmarked": max((each.benchmarked for each in served), default=None),
        "serving_error": max((each.error for each in served if each.error is not None), default=None),
    }
    for tokens in dict.fromkeys(each.tokens for each in served):
        same = [each for each in served if each.tokens == tokens]
        figures[f"first_request_ms_{tokens}"] = statistics.median(each.first_ns for each in same) / 1e6
        figures[f"steady_request_ms_{tokens}"] = statistics.median(each.steady_ns for each in same) / 1e6
    return figures


def described(figures: Figures) -> tuple[str, ...]:
    """Return `figures` in sentences, for a report."""
    return tuple(_sentences(figures))


def _sentences(figures: Figures) -> Iterator[str]:
    compiled, benchmarked = figures["configurations_compiled"], figures["configurations_benchmarked"]
    cache = (figures["cache_bytes"] or 0) / 1e6
    yield (
        f"{compiled:g} configurations compiled, {figures['compile_s']:.1f} s of compilation; "
        f"{cache:.1f} MB of Triton cache."
    )
    if benchmarked is None:
        yield f"They took {figures['warmup_s']:.1f} s on this machine's CPU. Benchmarks and serving need a GPU."
        return
    yield f"{benchmarked:g} of them benchmarked, {figures['configurations_refused']:g} refused by the GPU."
    yield (
        f"Serving after it: {figures['serving_compiled']:g} configurations compiled and "
        f"{figures['serving_benchmarked']:g} benchmarked; "
        f"outputs within {figures['serving_error']:.1e} of a float64 recurrence."
    )


def _median(values: Sequence[int | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None
