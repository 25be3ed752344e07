"""Measures what share of a card's copy bandwidth a decode step of the gated delta rule reaches.

    python benchmarks/gdn_decode.py benchmarks/results/gdn_decode.json
    python benchmarks/gdn_decode.py --tune /tmp/tuned.json

A step reads the float32 state of every request once and writes it once for each token; nothing else of size moves, so
only these bytes are counted. Steps run in a CUDA graph, over slots of a pool in turn, so that a state has left the L2
cache before it is read again. Every round times each case once, and the copy that they are held against.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
import torch
import triton
import typer
from scipy.stats import bootstrap
from syncwatch_kernels.gdn.recurrent import Blocking, _recurrent_decode, choose_blocking

HEADS = ((16, 64), (16, 32), (16, 16), (2, 8))
REQUESTS = (1, 8, 64, 128, 256)
DRAFTS = (0, 2)
SIZE = 128
COPY_BYTES = 1 << 31
POOL_BYTES = 1 << 29
"""The least number of bytes that the steps of one graph touch: several times the L2 cache of any card.

With a single request it can be less, as a graph has no more than `MAX_STEPS` steps.
"""
MAX_STEPS = 256
# num_stages is not varied: nothing in the kernel is pipelined, and its machine code for 1 and for 3 is the same.
BLOCKINGS = [
    Blocking(values, warps)
    for values in (8, 16, 32, 64, 128)
    for warps in (1, 2, 4, 8)
    if 16 <= values * SIZE // (32 * warps) <= 64  # floats of the state that each thread keeps in registers
]


@dataclass(frozen=True, slots=True)
class Case:
    """One decode step."""

    key_heads: int
    value_heads: int
    requests: int
    drafts: int
    blocking: Blocking

    @property
    def state_bytes(self) -> int:
        return self.value_heads * SIZE * SIZE * 4

    @property
    def moved_bytes(self) -> int:
        """Bytes of states read and written by one step."""
        return self.requests * self.state_bytes * (2 + self.drafts)

    @property
    def slots(self) -> int:
        """Slots that one step may touch."""
        return self.requests * (1 + self.drafts)

    @property
    def steps(self) -> int:
        """Steps in one graph, each on slots of its own."""
        return min(MAX_STEPS, math.ceil(POOL_BYTES / (self.slots * self.state_bytes)))


@dataclass(frozen=True, slots=True)
class Captured:
    """A CUDA graph, and `work`, which keeps alive the tensors whose addresses the graph uses."""

    graph: torch.cuda.CUDAGraph
    work: Callable[[], object]


class Figure(msgspec.Struct, frozen=True):
    """A median over the rounds, and its bootstrap interval."""

    median: float
    ci95: tuple[float, float]


class Row(msgspec.Struct, frozen=True):
    """The figures of one case."""

    heads: tuple[int, int]
    requests: int
    drafts: int
    block_values: int
    warps: int
    step_us: Figure
    bytes: int
    gbytes_per_s: float
    copy_share: Figure


class Results(msgspec.Struct, frozen=True):
    """Every case on one card."""

    gpu: str
    date: str
    torch: str
    triton: str
    rounds: int
    copy_gbytes_per_s: Figure
    rows: list[Row]


def main(
    output: Annotated[Path, typer.Argument()],
    tune: Annotated[bool, typer.Option(help="Try every blocking, and print the best of each case.")] = False,
    rounds: Annotated[int, typer.Option(help="Rounds, each with every case once.")] = 25,
) -> None:
    """Measure every case, print a table and write it."""
    torch.manual_seed(0)
    cases = _cases(tune)
    buffer = torch.randn(max((each.slots * each.steps + 1) * each.state_bytes for each in cases) // 4, device="cuda")
    ways = _copies()
    times = _measure([*ways, *(_captured(each, buffer) for each in cases)], rounds)
    copies = 2 * COPY_BYTES / min(times[: len(ways)], key=np.median) / 1e9
    rows = [_row(case, timed / case.steps, copies) for case, timed in zip(cases, times[len(ways) :], strict=True)]
    results = Results(
        gpu=torch.cuda.get_device_name(),
        date=datetime.now(timezone.utc).date().isoformat(),
        torch=str(torch.__version__),
        triton=triton.__version__,
        rounds=rounds,
        copy_gbytes_per_s=_figure(copies),
        rows=rows,
    )
    output.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")
    typer.echo(f"{results.gpu}, {results.date}: a copy moves {results.copy_gbytes_per_s.median:.0f} GB/s\n")
    _print(_best(rows) if tune else rows)


def _cases(tune: bool) -> list[Case]:
    return [
        Case(*heads, requests, drafts, blocking)
        for heads in HEADS
        for drafts in DRAFTS
        for requests in REQUESTS
        for blocking in (BLOCKINGS if tune else [choose_blocking(SIZE)])
    ]


def _copies() -> tuple[Captured, Captured]:
    """Return a copy by `copy_` and one by a kernel; the faster counts: `copy_` reached 2.8 of the card's 4.2 TB/s."""
    source = torch.randn(COPY_BYTES // 4, device="cuda")
    target = torch.empty_like(source)
    return _graph(lambda: target.copy_(source)), _graph(lambda: torch.neg(source, out=target))


def _captured(case: Case, buffer: torch.Tensor) -> Captured:
    """Return a graph of `case.steps` steps over slots in random order."""
    count = case.slots * case.steps
    states = buffer[: (count + 1) * case.state_bytes // 4].view(count + 1, case.value_heads, SIZE, SIZE)
    slots = (torch.randperm(count, device="cuda") + 1).int().view(case.steps, case.requests, 1 + case.drafts)
    tokens = case.slots
    q, k = torch.randn(2, 1, tokens, case.key_heads, SIZE, device="cuda").bfloat16()
    v = torch.randn(1, tokens, case.value_heads, SIZE, device="cuda").bfloat16()
    g = -torch.rand(1, tokens, case.value_heads, device="cuda")
    beta = torch.rand(1, tokens, case.value_heads, device="cuda")
    cu_seqlens = torch.arange(0, tokens + 1, 1 + case.drafts, dtype=torch.int32, device="cuda")
    accepted = torch.randint(1, 2 + case.drafts, (case.requests,), dtype=torch.int32, device="cuda")

    def work() -> None:
        for table in slots:
            _recurrent_decode(
                q, k, v, g, beta, states, table if case.drafts else table[:, 0], cu_seqlens,
                accepted if case.drafts else None, SIZE**-0.5, True, case.blocking,
            )  # fmt: skip

    return _graph(work)


def _graph(work: Callable[[], object]) -> Captured:
    work()  # compiles
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return Captured(graph, work)


def _measure(captured: Sequence[Captured], rounds: int) -> np.ndarray:
    """Return the seconds of each graph in each round, [captured, rounds], after two rounds that do not count."""
    times = np.empty((len(captured), rounds + 2))
    for index in range(rounds + 2):
        marks = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in captured]
        for each, (start, end) in zip(captured, marks, strict=True):
            start.record()
            each.graph.replay()
            end.record()
        torch.cuda.synchronize()
        times[:, index] = [start.elapsed_time(end) / 1e3 for start, end in marks]
    return times[:, 2:]


def _row(case: Case, seconds: np.ndarray, copies: np.ndarray) -> Row:
    rates = case.moved_bytes / seconds / 1e9
    return Row(
        heads=(case.key_heads, case.value_heads),
        requests=case.requests,
        drafts=case.drafts,
        block_values=case.blocking.values,
        warps=case.blocking.warps,
        step_us=_figure(seconds * 1e6),
        bytes=case.moved_bytes,
        gbytes_per_s=float(np.median(rates)),
        copy_share=_figure(rates / copies),
    )


def _figure(values: np.ndarray) -> Figure:
    found = bootstrap((values,), np.median, method="percentile", n_resamples=2000, random_state=0)
    return Figure(float(np.median(values)), (float(found.confidence_interval[0]), float(found.confidence_interval[1])))


def _best(rows: Sequence[Row]) -> list[Row]:
    """Return the three fastest blockings of each case."""
    groups: dict[tuple[tuple[int, int], int, int], list[Row]] = {}
    for row in sorted(rows, key=lambda each: each.step_us.median):
        groups.setdefault((row.heads, row.drafts, row.requests), []).append(row)
    return [row for key in sorted(groups) for row in groups[key][:3]]


def _print(rows: Sequence[Row]) -> None:
    typer.echo("| heads | drafts | requests | BV, warps | step (95 % interval) | GB/s | share of the copy |")
    typer.echo("|---|---|---|---|---|---|---|")
    for row in rows:
        low, high = row.step_us.ci95
        typer.echo(
            f"| {row.heads[0]}/{row.heads[1]} | {row.drafts} | {row.requests} "
            f"| {row.block_values}, {row.warps} "
            f"| {row.step_us.median:.1f} µs ({low:.1f} to {high:.1f}) | {row.gbytes_per_s:.0f} "
            f"| {row.copy_share.median:.1%} |"
        )


if __name__ == "__main__":
    typer.run(main)
