"""Checks that operators of torch's database wait where a GPU does, at every size, layout and type.

    python benchmarks/size_sweep.py run gpu.json.gz --device cuda
    python benchmarks/size_sweep.py run virtual.json.gz --device virtual --like gpu.json.gz
    python benchmarks/size_sweep.py compare gpu.json.gz virtual.json.gz

`syncwatch probe --sizes` does the same for a look, against the sweep of an H200 that is shipped
(`syncwatch/bench/probing/sweep_h200.json.gz`). Here a long sweep is kept as it goes, and goes on where it ended.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from syncwatch.bench.probing.sweep import Sweep, comparison_table, summary
from syncwatch.bench.probing.sweep import compare as compare_sweeps
from syncwatch.bench.probing.sweep_run import SweepPlan, sweep
from syncwatch.sense.choose_device import DeviceChoice

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def run(
    output: Path,
    device: DeviceChoice = DeviceChoice.AUTO,
    only: Annotated[str, typer.Option(help="Part of the operators' names.")] = "",
    like: Annotated[Optional[Path], typer.Option(help="Try only what this file measured.")] = None,  # noqa: UP045
    jobs: Annotated[int, typer.Option(help="Processes at once; 0 is half of the cores.")] = 0,
    timeout: Annotated[float, typer.Option(help="Seconds that one process may take.")] = 600.0,
    limit: Annotated[float, typer.Option(help="Seconds that one case may be expected to take.")] = 1.0,
) -> None:
    """Try every case of every operator and write what it did."""
    plan = SweepPlan(device, only, True, None if like is None else Sweep.load(like), jobs, timeout, limit)
    found = sweep(
        plan,
        Sweep.load(output) if output.exists() else Sweep(),
        lambda phase, done, total: typer.echo(f"{done} of {total} operators", err=True),
        lambda sweep: sweep.save(output),
    )
    found.save(output)
    counts = found.counts()
    typer.echo(
        f"{len(found.operators)} operators, {counts['cases']} cases, {counts['waiting']} wait; {counts['failed']} "
        f"could not run, {counts['stopped']} left out for their cost ({found.device}, torch {found.torch}, "
        f"{found.wall_s:.0f} s)"
    )


@app.command()
def compare(
    truth: Path, other: Path, only: Annotated[str, typer.Option(help="Part of the operators' names.")] = ""
) -> None:
    """Print agreement over cases and operators, and each difference; exit 1 where one waits and the other does not."""
    known, found = Sweep.load(truth), Sweep.load(other)
    comparison = compare_sweeps(known, found, only)
    typer.echo("\n".join(comparison.rows))
    typer.echo(f"\n{known.device} torch {known.torch} against {found.device} torch {found.torch}")
    typer.echo("\n".join(comparison_table(comparison)))
    typer.echo("\n".join(("", *summary(comparison))))
    raise typer.Exit(0 if comparison.agrees else 1)


if __name__ == "__main__":
    app()
