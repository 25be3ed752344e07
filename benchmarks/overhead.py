"""Measures how much watching slows a step down, beside torch's bare debug mode and torch.profiler.

    python benchmarks/overhead.py OUT.json

Variants are interleaved in rounds. torch.profiler comes last, beside plain rounds of its own: once it has run, it keeps
CUPTI's callbacks for the rest of the process.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import date
from pathlib import Path

import msgspec
import numpy as np
import torch
import typer
from scipy.stats import bootstrap
from syncwatch_scenarios.gdn_prefill import SCENARIO, PrefillOptions

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from syncwatch.sense.choose_device import DeviceChoice, open_device  # noqa: E402
from syncwatch.sense.scopes.ranges import step  # noqa: E402

_ROUNDS, _STEPS, _READS = 9, 3, 2000
_PROFILED_ROUNDS = 5
_DEPTH = 32

Watcher = Callable[[], AbstractContextManager[object]]


class Row(msgspec.Struct, frozen=True):
    """A time with and without one way of watching, in microseconds, and their ratio with its bootstrap interval."""

    what: str
    watcher: str
    plain_us: float
    watched_us: float
    ratio: float
    ratio_ci95: tuple[float, float]
    added_us: float


class Results(msgspec.Struct, frozen=True):
    """What the file holds."""

    gpu: str
    date: str
    torch: str
    rows: list[Row]


def main(output: Path, preset: str = "qwen3.5-397b", tokens: int = 8192) -> None:
    """Measure, print and write."""
    device = open_device(DeviceChoice.CUDA)
    workload = SCENARIO.build(PrefillOptions(preset=preset, tokens=tokens), torch.device("cuda"))
    number = iter(range(1_000_000))

    def steps() -> float:
        return _timed(lambda: _step(workload.step, next(number)), _STEPS)

    one = torch.ones(1, device="cuda")

    def reads() -> float:
        return _timed(lambda: _deep(one.item, _DEPTH), _READS)

    sensing: dict[str, Watcher] = {
        "debug mode with a warnings hook": _debug_mode,
        "sense pass": lambda: device.sense(f"overhead {next(number)}"),
    }
    pricing: dict[str, Watcher] = {"price pass": _price(device, number), "torch.profiler": _profiler}
    steps(), reads()
    rows: list[Row] = []
    for watchers, rounds in ((sensing, _ROUNDS), (pricing, _PROFILED_ROUNDS)):
        rows += _compare(f"prefill step, {preset}, {tokens} tokens, precomputed", steps, watchers, rounds)
        rows += _compare(f"read of an idle stream under {_DEPTH} frames", reads, watchers, rounds)
    results = Results(torch.cuda.get_device_name(), date.today().isoformat(), str(torch.__version__), rows)
    output.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")
    _print(rows)


def _price(device: object, number: Iterator[int]) -> Watcher:
    @contextlib.contextmanager
    def priced() -> Iterator[None]:
        with device.sense(f"overhead {next(number)}") as sensed:  # type: ignore[attr-defined]
            pass
        with device.price(sensed):  # type: ignore[attr-defined]
            yield

    return priced


def _step(run: Callable[[str, int], torch.Tensor], index: int) -> None:
    with step():
        run("precomputed", index)


def _deep(call: Callable[[], object], depth: int) -> object:
    return call() if depth <= 1 else _deep(call, depth - 1)


def _timed(call: Callable[[], object], count: int) -> float:
    """Return the microseconds of a call, with the GPU's queue empty before the first and after the last."""
    torch.cuda.synchronize()
    start = time.perf_counter_ns()
    for _ in range(count):
        call()
    torch.cuda.synchronize()
    return (time.perf_counter_ns() - start) / count / 1e3


@contextlib.contextmanager
def _debug_mode() -> Iterator[None]:
    """What people write by hand: torch's sync debug mode, with a hook that keeps the line of each warning."""
    found: list[tuple[str, int]] = []
    hook = warnings.showwarning
    torch.cuda.set_sync_debug_mode("warn")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda _m, _c, file, line, *_: found.append((file, line))
        try:
            yield
        finally:
            warnings.showwarning = hook
            torch.cuda.set_sync_debug_mode("default")


@contextlib.contextmanager
def _profiler() -> Iterator[None]:
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities, with_stack=True, acc_events=True):
        yield


def _compare(what: str, measure: Callable[[], float], watchers: dict[str, Watcher], rounds: int) -> list[Row]:
    times: dict[str, list[float]] = {"plain": [], **{name: [] for name in watchers}}
    for index in range(rounds):
        order = list(times) if index % 2 == 0 else list(times)[::-1]
        for name in order:
            with watchers[name]() if name in watchers else contextlib.nullcontext():
                times[name].append(measure())
    return [_row(what, name, times["plain"], times[name]) for name in watchers]


def _row(what: str, watcher: str, plain: list[float], watched: list[float]) -> Row:
    columns = (np.array(watched), np.array(plain))
    found = bootstrap(columns, _ratio, paired=True, vectorized=True, method="percentile", rng=np.random.default_rng(1))
    low, high = found.confidence_interval
    before, after = statistics.median(plain), statistics.median(watched)
    return Row(what, watcher, before, after, after / before, (float(low), float(high)), after - before)


def _ratio(new: np.ndarray, old: np.ndarray, axis: int = -1) -> np.ndarray:
    ratio: np.ndarray = np.median(new, axis=axis) / np.median(old, axis=axis)
    return ratio


def _print(rows: list[Row]) -> None:
    typer.echo("| what | watched by | plain | watched | ratio (95 % interval) | added |\n|---|---|---|---|---|---|")
    for row in rows:
        low, high = row.ratio_ci95
        typer.echo(
            f"| {row.what} | {row.watcher} | {row.plain_us:.2f} us | {row.watched_us:.2f} us "
            f"| {row.ratio:.4f} ({low:.4f} to {high:.4f}) | {row.added_us:.2f} us |"
        )


if __name__ == "__main__":
    typer.run(main)
