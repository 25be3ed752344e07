"""Answers: what do a guard, and the markers of the pytest plugin, cost where nothing waits?

    python benchmarks/guard.py benchmarks/results/guard.json

Needs a CUDA GPU. The step is a stack of small layers without a wait, short enough that the host is the limit, which is
where a guard costs most. Plain, guarded and watched steps alternate in rounds, and ratios are of medians. `markers` is
what the markers `no_sync` and `sync_budget` run a test in, begin and end left out.
"""

from __future__ import annotations

import contextlib
import statistics
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import msgspec
import torch
import typer

import syncwatch

LAYERS, WIDTH = 48, 256
MANY = 200_000


def main(
    output: Annotated[Path, typer.Argument(help="The JSON file to write.")],
    rounds: Annotated[int, typer.Option(help="Rounds of each, in turn.")] = 30,
    steps: Annotated[int, typer.Option(help="Steps a round.")] = 20,
) -> None:
    """Measure, print and write."""
    step = _sync_free_step()
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
        for name, around in ways.items():
            with around():
                elapsed = _timed(bodies.get(name, step), steps)
            if number >= 2:
                times[name].append(elapsed)
    medians = {name: statistics.median(each) for name, each in times.items()}
    results = {
        "gpu": torch.cuda.get_device_name(),
        "torch": str(torch.__version__),
        "step_us": medians,
        "ratio_to_plain": {name: each / medians["plain"] for name, each in medians.items()},
        "enter_and_leave_ns": {name: _each_ns(call) for name, call in _BLOCKS.items()},
    }
    output.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")
    typer.echo(output.read_text())


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
