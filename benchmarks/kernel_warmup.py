"""Measures how long a server with cold kernels warms them up, and what it still compiles after that.

    python benchmarks/kernel_warmup.py benchmarks/results/kernel_warmup.json

Every measurement is a fresh process with an empty Triton cache of its own. A round runs each variant once, every second
round in reverse; one more process of each variant is watched for its waits, and its times are not used. The last table
says what the GPU's own benchmark took for each kernel: that is where the shipped configurations come from.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
import torch
import triton
import typer
from scipy.stats import bootstrap
from syncwatch_scenarios.hybrid_model.sizes import PRESETS
from syncwatch_scenarios.kernel_warmup.chain import Heads
from syncwatch_scenarios.kernel_warmup.figures import Warmup
from syncwatch_scenarios.kernel_warmup.variants import VARIANTS
from syncwatch_scenarios.kernel_warmup.workload import KernelWarmupWorkload

from syncwatch.analyse.step_times import ratio_interval


class Figure(msgspec.Struct, frozen=True):
    """A median over the rounds, and its bootstrap interval."""

    median: float
    ci95: tuple[float, float]


class Request(msgspec.Struct, frozen=True):
    """One length, served after the warm-up."""

    tokens: int
    compiled: int
    """Configurations compiled; this and the next two figures are the largest of any round."""

    benchmarked: int
    error: float
    first_ms: Figure
    steady_us: Figure


class Variant(msgspec.Struct, frozen=True):
    """One variant over all rounds."""

    name: str
    warmup_s: Figure
    rounds_ns: list[int]
    share_of_naive: float | None
    """Its median warm-up over that of `naive`, with the interval of `share_ci95`; None for `naive` itself."""

    share_ci95: tuple[float, float] | None
    compile_s: Figure
    compiled: list[int]
    """Configurations compiled in each round; the next three lists, too, have a number for each round."""

    benchmarked: list[int]
    refused: list[int]
    cache_bytes: list[int]
    warmup_syncs: float | None
    serving_syncs: float | None
    requests: list[Request]
    choices: dict[str, dict[str, int]]
    """For each kernel and block size the configurations chosen, and in how many rounds."""


class Results(msgspec.Struct, frozen=True):
    """Every variant on one card."""

    gpu: str
    date: str
    torch: str
    triton: str
    preset: str
    heads: Heads
    rounds: int
    variants: list[Variant]


def main(
    output: Annotated[Path, typer.Argument()],
    preset: Annotated[str, typer.Option(help="Whose heads.")] = "qwen3-next-80b",
    rounds: Annotated[int, typer.Option(help="Fresh processes of each variant.")] = 5,
) -> None:
    """Measure every variant, print tables and write the results."""
    shape = PRESETS[preset]
    heads = Heads(shape.key_heads, shape.value_heads, shape.head_size)
    workload = KernelWarmupWorkload(preset, heads, 0, on_gpu=True)
    names = list(VARIANTS)
    for number in range(rounds):
        for name in names if number % 2 == 0 else names[::-1]:
            began = time.monotonic()
            workload.step(name, number)
            typer.echo(f"round {number + 1} of {rounds}: {name}, {time.monotonic() - began:.0f} s", err=True)
        # A round takes minutes, so the results so far are written after each.
        results = _results(preset, heads, number + 1, workload)
        _write(results, output)
    for name in names:
        workload.watch(name)
    results = _results(preset, heads, rounds, workload)
    _write(results, output)
    typer.echo(f"{results.gpu}, {results.date}, {heads.keys}/{heads.values} heads, {rounds} rounds\n")
    _print(results.variants)


def _results(preset: str, heads: Heads, rounds: int, workload: KernelWarmupWorkload) -> Results:
    naive = workload.warmups("naive")
    return Results(
        gpu=torch.cuda.get_device_name(),
        date=datetime.now(timezone.utc).date().isoformat(),
        torch=str(torch.__version__),
        triton=triton.__version__,
        preset=preset,
        heads=heads,
        rounds=rounds,
        variants=[_variant(name, workload, naive) for name in VARIANTS],
    )


def _write(results: Results, output: Path) -> None:
    output.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")


def _variant(name: str, workload: KernelWarmupWorkload, naive: Sequence[Warmup]) -> Variant:
    warmups = workload.warmups(name)
    figures = workload.figures(name)
    times = [each.warmup_ns for each in warmups]
    share, interval = None, None
    if name != "naive":
        share = float(np.median(times) / np.median([each.warmup_ns for each in naive]))
        interval = ratio_interval([(time,) for time in times], [(each.warmup_ns,) for each in naive])
    return Variant(
        name=name,
        warmup_s=_figure(each.warmup_ns / 1e9 for each in warmups),
        rounds_ns=times,
        share_of_naive=share,
        share_ci95=interval,
        compile_s=_figure(each.compile_ns / 1e9 for each in warmups),
        compiled=[each.compiled for each in warmups],
        benchmarked=[each.benchmarked or 0 for each in warmups],
        refused=[each.refused or 0 for each in warmups],
        cache_bytes=[each.cache_bytes for each in warmups],
        warmup_syncs=figures["warmup_syncs"],
        serving_syncs=figures["serving_syncs"],
        requests=[_request(warmups, index) for index in range(len(warmups[0].served))],
        choices=_choices(warmups),
    )


def _request(warmups: Sequence[Warmup], index: int) -> Request:
    same = [each.served[index] for each in warmups]
    return Request(
        tokens=same[0].tokens,
        compiled=max(each.compiled for each in same),
        benchmarked=max(each.benchmarked for each in same),
        error=max(each.error for each in same if each.error is not None),
        first_ms=_figure(each.first_ns / 1e6 for each in same),
        steady_us=_figure(each.steady_ns / 1e3 for each in same),
    )


def _choices(warmups: Sequence[Warmup]) -> dict[str, dict[str, int]]:
    return {
        kernel: dict(Counter(each.choices[kernel] for each in warmups).most_common()) for kernel in warmups[0].choices
    }


def _figure(values: Iterable[float]) -> Figure:
    measured = np.array(list(values))
    if measured.size < 2 or np.ptp(measured) == 0:
        return Figure(float(np.median(measured)), (float(measured.min()), float(measured.max())))
    found = bootstrap((measured,), np.median, method="percentile", n_resamples=2000, random_state=0)
    low, high = found.confidence_interval
    return Figure(float(np.median(measured)), (float(low), float(high)))


def _print(variants: Sequence[Variant]) -> None:
    typer.echo("| variant | warm-up (95 % interval) | of naive | compiled | benchmarked | refused | cache | syncs |")
    typer.echo("|---|---|---|---|---|---|---|---|")
    for each in variants:
        low, high = each.warmup_s.ci95
        typer.echo(
            f"| {each.name} | {each.warmup_s.median:.2f} s ({low:.2f} to {high:.2f}) | {_share(each)} "
            f"| {_range(each.compiled)} | {_range(each.benchmarked)} | {_range(each.refused)} "
            f"| {np.median(each.cache_bytes) / 1e6:.1f} MB | {each.warmup_syncs:g} |"
        )
    typer.echo("\n| then served | " + " | ".join(f"{each.name}: first, steady; compiled" for each in variants) + " |")
    typer.echo("|---|" + "---|" * len(variants))
    for rows in zip(*(each.requests for each in variants), strict=True):
        typer.echo(f"| {rows[0].tokens} tokens | " + " | ".join(map(_served, rows)) + " |")
    typer.echo("\n| kernel | variant | configuration | rounds |\n|---|---|---|---|")
    for each in variants:
        for kernel, taken in each.choices.items():
            for config, count in taken.items():
                typer.echo(f"| {kernel} | {each.name} | {config} | {count} |")


def _share(variant: Variant) -> str:
    if variant.share_of_naive is None or variant.share_ci95 is None:
        return "" if variant.share_of_naive is None else f"{variant.share_of_naive:.1%}"
    low, high = variant.share_ci95
    return f"{variant.share_of_naive:.1%} ({low:.1%} to {high:.1%})"


def _range(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"


def _served(request: Request) -> str:
    return f"{request.first_ms.median:.2f} ms, {request.steady_us.median:.0f} µs; {request.compiled}"


if __name__ == "__main__":
    typer.run(main)
