"""Measures what a guard, and the markers of the pytest plugin, cost a step in which nothing waits.

    python benchmarks/guard.py benchmarks/results/guard.json

Needs a CUDA GPU. Two steps that never wait: a stack of small layers, short enough that the host is the limit, which is
where a guard costs most; and a prefill step at full shape. Plain, guarded and watched steps alternate in rounds; ratios
are of medians, with a bootstrap interval over the rounds. `markers` is what the markers `no_sync` and `sync_budget` run
a test in, begin and end left out.
"""

from __future__ import annotations

import contextlib
import itertools
import statistics
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import torch
import typer
from scipy.stats import bootstrap
from syncwatch_scenarios.gdn_prefill import SCENARIO, PrefillOptions

import syncwatch

LAYERS, WIDTH = 48, 256
MANY = 200_000


def main(
    output: Annotated[Path, typer.Argument(help="The JSON file to write.")],
    rounds: Annotated[int, typer.Option(help="Rounds of each, in turn.")] = 40,
    steps: Annotated[int, typer.Option(help="Steps a round.")] = 50,
) -> None:
    """Measure, print and write."""
    small = _compare(_sync_free_step(), rounds, steps)
    prefill = _compare(_prefill_step(), max(rounds // 4, 5), max(steps // 20, 2))
    results = {
        "gpu": torch.cuda.get_device_name(),
        "torch": str(torch.__version__),
        **small,
        "prefill": prefill,
        "enter_and_leave_ns": {name: _each_ns(call) for name, call in _BLOCKS.items()},
    }
    output.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")
    typer.echo(output.read_text())


def _compare(step: Callable[[], None], rounds: int, steps: int) -> dict[str, dict[str, Any]]:
    """Return the time of `step` under each way in microseconds, and its ratio to plain with an interval."""
    ways: dict[str, Callable[[], contextlib.AbstractContextManager[Any]]] = {
        "plain": contextlib.nullcontext,
        "guard around every step": contextlib.nullcontext,
        "guard around all steps": lambda: syncwatch.guard("disallow"),
        "guard off": contextlib.nullcontext,
        "markers": _watching,
    }
    bodies: dict[str, Callable[[], None]] = {
        "guard around every step": _guarded(step, enabled=True),
        "guard off": _guarded(step, enabled=False),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 2):
        order = list(ways) if number % 2 == 0 else list(ways)[::-1]
        for name in order:
            with ways[name]():
                elapsed = _timed(bodies.get(name, step), steps)
            if number >= 2:
                times[name].append(elapsed)
    medians = {name: statistics.median(each) for name, each in times.items()}
    return {
        "step_us": medians,
        "ratio_to_plain": {name: each / medians["plain"] for name, each in medians.items()},
        "ratio_ci95": {name: _interval(each, times["plain"]) for name, each in times.items() if name != "plain"},
    }


def _interval(watched: list[float], plain: list[float]) -> tuple[float, float]:
    found = bootstrap(
        (np.array(watched), np.array(plain)),
        lambda new, old, axis: np.median(new, axis=axis) / np.median(old, axis=axis),
        paired=True,
        vectorized=True,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    return float(found.low), float(found.high)


def _prefill_step() -> Callable[[], None]:
    """Return a step of gdn-prefill's precomputed variant, Qwen3-Next-80B with 8,192 tokens."""
    options = PrefillOptions(preset="qwen3-next-80b", tokens=8192)
    workload = SCENARIO.build(options, torch.device("cuda"))
    number = itertools.count()

    def step() -> None:
        workload.step("precomputed", next(number))

    return step


def _sync_free_step() -> Callable[[], None]:
    weights = [torch.randn(WIDTH, WIDTH, device="cuda") / WIDTH**0.5 for _ in range(LAYERS)]
    x = torch.randn(8, WIDTH, device="cuda")
    host = torch.zeros(8, WIDTH, pin_memory=True)

    def step() -> None:
        y = x
        for weight in weights:
            y = torch.nn.functional.silu(y @ weight) + y
        host.copy_(y, non_blocking=True)

    return step


def _guarded(step: Callable[[], None], *, enabled: bool) -> Callable[[], None]:
    def guarded() -> None:
        with syncwatch.guard("disallow", enabled=enabled):
            step()

    return guarded


def _watching() -> contextlib.AbstractContextManager[Any]:
    return syncwatch.watch("cuda", prices=False)


def _timed(step: Callable[[], None], steps: int) -> float:
    """Return the microseconds of a step, the GPU's included."""
    _drain()
    start = timeit.default_timer()
    for _ in range(steps):
        step()
    _drain()
    return (timeit.default_timer() - start) / steps * 1e6


def _drain() -> None:
    with syncwatch.allow("the benchmark's own wait"):
        torch.cuda.synchronize()


def _off() -> None:
    with syncwatch.guard("disallow", enabled=False):
        pass


def _on() -> None:
    with syncwatch.guard("disallow"):
        pass


def _allowing() -> None:
    with syncwatch.allow("reason"):
        pass


def _nothing() -> None:
    pass


_BLOCKS = {"nothing": _nothing, "guard off": _off, "guard": _on, "allow": _allowing}


def _each_ns(call: Callable[[], None]) -> float:
    return min(timeit.repeat(call, number=MANY, repeat=5)) / MANY * 1e9


if __name__ == "__main__":
    typer.run(main)
