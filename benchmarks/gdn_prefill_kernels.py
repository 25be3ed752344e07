"""Measures how fast our gated delta rule prefill is on this GPU, beside flash-linear-attention's.

    python benchmarks/gdn_prefill_kernels.py benchmarks/results/gdn_prefill_kernels.json
    python benchmarks/gdn_prefill_kernels.py out.json --only 16/64 --only 1x8192 --profile

Both get the same inputs in bfloat16, queries and keys not yet of unit length, states in and out, metadata given. Their
outputs are compared before anything is timed. Rounds alternate between the two, and each round times a few calls in a
row with CUDA events: once called from Python, once replayed from a CUDA graph. flash-linear-attention is no dependency:
`pip install flash-linear-attention==0.6.0`; without it our times stand alone.
"""

from __future__ import annotations

import datetime
import importlib
import importlib.metadata
import importlib.util
import statistics
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any

import msgspec
import torch
import triton
import typer
from syncwatch_kernels.gdn import build_chunk_metadata, chunk_gated_delta_rule
from torch.nn import functional

from syncwatch.analyse.step_times import ratio_interval

HEADS = ((16, 64), (16, 32), (16, 16), (2, 8))
"""Key and value heads: Qwen3.5-397B, Qwen3-Next-80B, Qwen3.5-2B, and the first on eight GPUs."""

BATCHES = ((1, 8192), (2, 4096), (8, 1024), (1, 32768))
"""Sequences and tokens in each."""

SIZE = 128
CLOSE = 0.01
"""Largest relative RMSE between the two implementations: each may be off by 0.005 from float64."""

OURS, THEIRS = "syncwatch", "flash-linear-attention"

Call = Callable[[], tuple[torch.Tensor, torch.Tensor]]


class Mode(msgspec.Struct, frozen=True):
    """Times of one case, called in one way."""

    rounds_ns: dict[str, list[int]]
    median_ms: dict[str, float]
    ratio: float | None
    """flash-linear-attention's median over ours; None where it is not installed."""

    ci95: tuple[float, float] | None


class Case(msgspec.Struct, frozen=True):
    """One shape."""

    key_heads: int
    value_heads: int
    sequences: int
    tokens: int
    difference: dict[str, float] | None
    """Relative RMSE between the two implementations, of the output and of the state."""

    eager: Mode
    graph: Mode


class Report(msgspec.Struct, frozen=True):
    """What was measured, and where."""

    gpu: str
    date: str
    versions: dict[str, str | None]
    cases: list[Case]


def main(
    output: Path,
    rounds: Annotated[int, typer.Option(help="Rounds of each, in turn.")] = 15,
    calls: Annotated[int, typer.Option(help="Calls in a round.")] = 10,
    only: Annotated[list[str] | None, typer.Option(help="Heads or batches to measure, as 16/64 or 1x8192.")] = None,
    profile: Annotated[bool, typer.Option(help="Print the time of each kernel instead; of the first case.")] = False,
) -> None:
    """Measure every shape, print a table and write OUTPUT."""
    if not torch.cuda.is_available():
        raise typer.BadParameter("this benchmark needs a CUDA GPU")
    if importlib.util.find_spec("fla") is None:
        typer.echo("flash-linear-attention is not installed: our times alone", err=True)
    names = {f"{a}/{b}" for a, b in HEADS}, {f"{a}x{b}" for a, b in BATCHES}
    wanted = [chosen & set(only or ()) or chosen for chosen in names]
    shapes = [
        (heads, batch)
        for heads in HEADS
        for batch in BATCHES
        if f"{heads[0]}/{heads[1]}" in wanted[0] and f"{batch[0]}x{batch[1]}" in wanted[1]
    ]
    if profile:
        _profile(_candidates(*shapes[0]))
        return
    typer.echo("| heads | batch | called | ours, ms | flash-linear-attention, ms | ratio (95 % interval) |")
    typer.echo("|---|---|---|---|---|---|")
    cases = []
    for heads, batch in shapes:
        cases.append(_measure(heads, batch, rounds, calls))
        _print_row(cases[-1], "eager", cases[-1].eager)
        _print_row(cases[-1], "graph", cases[-1].graph)
    report = Report(
        gpu=torch.cuda.get_device_name(),
        date=datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        versions={"torch": str(torch.__version__), "triton": triton.__version__, THEIRS: _version(THEIRS)},
        cases=cases,
    )
    output.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _candidates(heads: tuple[int, int], batch: tuple[int, int]) -> dict[str, Call]:
    """Return a call of each implementation on the same inputs, in which some heads hardly decay and others strongly."""
    (key_heads, value_heads), (sequences, length) = heads, batch
    tokens = sequences * length
    cuda = torch.Generator("cuda").manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=cuda, device="cuda")

    q, k = (normal(1, tokens, key_heads, SIZE).bfloat16() for _ in range(2))
    v = normal(1, tokens, value_heads, SIZE).bfloat16()
    rates = torch.linspace(-4.0, 1.0, value_heads, device="cuda").exp()
    g = -rates * functional.softplus(normal(1, tokens, value_heads))
    beta = normal(1, tokens, value_heads).sigmoid()
    state = normal(sequences, value_heads, SIZE, SIZE)
    cu_seqlens_cpu = torch.tensor([0, *accumulate([length] * sequences)], dtype=torch.int32)
    metadata = build_chunk_metadata(cu_seqlens_cpu)
    cu_seqlens, indices, offsets = (
        each.cuda() for each in (cu_seqlens_cpu, metadata.chunk_indices, metadata.chunk_offsets)
    )

    def ours() -> tuple[torch.Tensor, torch.Tensor]:
        o, final = chunk_gated_delta_rule(q, k, v, g, beta, cu_seqlens, state, True, indices, offsets, True)
        assert final is not None
        return o, final

    calls: dict[str, Call] = {OURS: ours}
    if importlib.util.find_spec("fla") is not None:
        fla_rule: Any = importlib.import_module("fla.ops.gated_delta_rule").chunk_gated_delta_rule
        # flash-linear-attention keeps a state as [K, V]; it is transposed here, outside of what is timed.
        turned = state.mT.contiguous()

        def theirs() -> tuple[torch.Tensor, torch.Tensor]:
            o, final = fla_rule(
                q, k, v, g, beta, initial_state=turned, output_final_state=True, use_qk_l2norm_in_kernel=True,
                cu_seqlens=cu_seqlens, chunk_indices=indices,
            )  # fmt: skip
            return o, final.mT

        calls[THEIRS] = theirs
    return calls


@torch.no_grad()
def _measure(heads: tuple[int, int], batch: tuple[int, int], rounds: int, calls: int) -> Case:
    candidates = _candidates(heads, batch)
    difference = None
    if THEIRS in candidates:
        ours, theirs = candidates[OURS](), candidates[THEIRS]()
        difference = {name: _rmse(a, b) for name, a, b in zip(("output", "state"), ours, theirs, strict=True)}
        if not max(difference.values()) <= CLOSE:
            raise SystemExit(f"{heads}, {batch}: the outputs differ, so nothing is timed: {difference}")
    graphs = {name: _graph(call) for name, call in candidates.items()}
    return Case(
        key_heads=heads[0],
        value_heads=heads[1],
        sequences=batch[0],
        tokens=batch[0] * batch[1],
        difference=difference,
        eager=_mode(candidates, rounds, calls),
        graph=_mode({name: graph.replay for name, graph in graphs.items()}, rounds, calls),
    )


def _rmse(actual: torch.Tensor, truth: torch.Tensor) -> float:
    error = (actual.float() - truth.float()).square().mean().sqrt()
    return float(error / truth.float().square().mean().sqrt())


def _graph(call: Call) -> torch.cuda.CUDAGraph:
    call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph


def _mode(candidates: dict[str, Callable[[], Any]], rounds: int, calls: int) -> Mode:
    timed: dict[str, list[int]] = {name: [] for name in candidates}
    for work in candidates.values():
        _nanoseconds(work, calls)
    for _ in range(rounds):
        for name, work in candidates.items():
            timed[name].append(_nanoseconds(work, calls))
    medians = {name: statistics.median(times) / 1e6 for name, times in timed.items()}
    if THEIRS not in timed:
        return Mode(timed, medians, None, None)
    pairs = [[[each] for each in timed[name]] for name in (THEIRS, OURS)]
    return Mode(timed, medians, medians[THEIRS] / medians[OURS], ratio_interval(pairs[0], pairs[1]))


def _nanoseconds(work: Callable[[], Any], calls: int) -> int:
    """Return the mean time of a call, of `calls` in a row, in ns."""
    torch.cuda.synchronize()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(calls):
        work()
    end.record()
    torch.cuda.synchronize()
    return int(start.elapsed_time(end) * 1e6 / calls)


def _print_row(case: Case, called: str, mode: Mode) -> None:
    theirs, ratio = "not installed", ""
    if mode.ratio is not None:
        theirs, ratio = f"{mode.median_ms[THEIRS]:.3f}", f"{mode.ratio:.2f}"
    if mode.ci95 is not None:
        ratio += f" ({mode.ci95[0]:.2f} to {mode.ci95[1]:.2f})"
    heads, batch = f"{case.key_heads}/{case.value_heads}", f"{case.sequences}x{case.tokens // case.sequences}"
    typer.echo(f"| {heads} | {batch} | {called} | {mode.median_ms[OURS]:.3f} | {theirs} | {ratio} |")


@torch.no_grad()
def _profile(candidates: dict[str, Call]) -> None:
    for name, call in candidates.items():
        call()
        torch.cuda.synchronize()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profiler:
            call()
            torch.cuda.synchronize()
        typer.echo(name)
        for event in sorted(profiler.key_averages(), key=lambda each: -each.self_device_time_total):
            typer.echo(f"  {event.self_device_time_total:9.1f} us  {event.count:3} x  {event.key}")


if __name__ == "__main__":
    typer.run(main)
