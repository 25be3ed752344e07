"""Measures how much watching slows a program down, beside torch's bare debug mode and torch.profiler.

    python benchmarks/overhead.py OUT.json

Ways to watch are interleaved in rounds. torch.profiler comes last, beside plain rounds of its own: once it has run, it
keeps CUPTI for the rest of the process. What was measured is written as soon as it is there.
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

_ROUNDS, _PROFILED_ROUNDS = 5, 3
_STEPS, _LOOPS, _LAUNCHES, _READS = 3, 60, 20_000, 4000
_LAYERS, _TOKENS, _WIDTH = 24, 64, 2048
_LOOP = f"host-bound step: {_LAYERS} layers of a {_TOKENS}x{_WIDTH} matmul and SiLU, one read"
_LLAMA = "`generate` of a small Llama, 16 tokens"
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
    number = iter(range(1_000_000))
    ours: dict[str, Watcher] = {
        "syncwatch": lambda: device.watch(f"overhead {next(number)}"),
        "syncwatch without times": lambda: device.watch(f"overhead {next(number)}", times=False),
        "syncwatch with torch's hooks alone": lambda: device.lines(f"overhead {next(number)}"),
        "debug mode with a warnings hook": _debug_mode,
    }
    works = _works(preset, tokens)
    for work in works.values():
        work()
    rows: list[Row] = []
    for what, work in works.items():
        rows += _compare(what, work, ours, _ROUNDS)
        _write(rows, output)
    # Of a watch with stacks torch.profiler itself takes seconds to end, so it watches the two loops alone.
    for what in (_LOOP, _LLAMA):
        rows += _compare(what, works[what], {"torch.profiler with stacks": _profiler}, _PROFILED_ROUNDS)
        _write(rows, output)
    _print(rows)


def _write(rows: list[Row], output: Path) -> None:
    results = Results(torch.cuda.get_device_name(), date.today().isoformat(), str(torch.__version__), rows)
    output.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")


def _works(preset: str, tokens: int) -> dict[str, Callable[[], float]]:
    """Return what is measured; each gives the microseconds of one step, launch or read."""
    workload = SCENARIO.build(PrefillOptions(preset=preset, tokens=tokens), torch.device("cuda"))
    one, few = torch.ones(1, device="cuda"), torch.ones(16, device="cuda")
    weights = [torch.randn(_WIDTH, _WIDTH, device="cuda", dtype=torch.bfloat16) for _ in range(_LAYERS)]
    indices = iter(range(1_000_000))

    def loop() -> None:
        hidden = torch.ones(_TOKENS, _WIDTH, device="cuda", dtype=torch.bfloat16)
        for weight in weights:
            hidden = torch.nn.functional.silu(hidden @ weight)
        hidden.sum().item()

    def read() -> object:
        return _deep(one.item, _DEPTH)

    return {
        _LOOP: lambda: _timed(loop, _LOOPS),
        _LLAMA: _generate(),
        "a launch": lambda: _timed(lambda: few.add_(1), _LAUNCHES),
        f"a read of an idle stream under {_DEPTH} frames, {_READS:,} in a row": lambda: _timed(read, _READS),
        f"prefill step, {preset}, {tokens} tokens, precomputed": lambda: _timed(
            lambda: _step(workload.step, next(indices)), _STEPS
        ),
    }


def _generate() -> Callable[[], float]:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=512, intermediate_size=1024, num_hidden_layers=8, num_attention_heads=8, vocab_size=8192
    )
    model = LlamaForCausalLM(config).cuda().to(torch.bfloat16).eval()
    prompt = torch.randint(0, 8192, (2, 64), device="cuda")
    everything = torch.ones_like(prompt)

    def generate() -> object:
        return model.generate(
            prompt, attention_mask=everything, max_new_tokens=16, min_new_tokens=16, do_sample=False, pad_token_id=0
        )

    return lambda: _timed(generate, 2)


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
        # Turned on by one each round, so that none always follows the same other.
        order = [*list(times)[index % len(times) :], *list(times)[: index % len(times)]]
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
