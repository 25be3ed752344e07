"""The command `syncwatch probe`: measures which operators wait on this GPU, with this torch."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer
from rich.console import Console
from rich.table import Table

from syncwatch.cli.outputs import require_apart
from syncwatch.cli.screen import progress
from syncwatch.errors import SessionError
from syncwatch.sense.choose_device import DeviceChoice, open_device, require_torch

if TYPE_CHECKING:
    from syncwatch.bench.probing.measured import ChangedSample, Measured, ProbedTable
    from syncwatch.bench.probing.sweep import Sweep


_SHOWN = 40
"""Differences that are listed; the rest is counted."""


def show_table(known: ProbedTable, found: ProbedTable, unlike: list[ChangedSample]) -> None:
    """Write how many samples wait, and where two tables differ."""
    console = Console(highlight=False)
    waiting = sum(each.waits for each in found.operators.values())
    console.print(
        f"{len(found.operators)} samples measured, {waiting} of them wait; {len(found.failed)} could not run "
        f"({found.environment.gpu}, torch {found.environment.torch})."
    )
    console.print(
        f"{len(unlike)} differ from {known.environment.gpu}, torch {known.environment.torch}" + (":" if unlike else ".")
    )
    grid = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for heading in ("sample", "there", "here"):
        grid.add_column(heading, overflow="fold")
    for each in unlike[:_SHOWN]:
        grid.add_row(each.name, _brief(each.known), _brief(each.found))
    if unlike:
        console.print(grid)
    if len(unlike) > _SHOWN:
        console.print(f"and {len(unlike) - _SHOWN} more.")


def _brief(measured: Measured) -> str:
    parts = [f"{count} {name}" for name, count in (*measured.syncs.items(), *measured.copies.items())]
    return ", ".join(parts) or "nothing"


"""Differences that are listed; the rest is counted."""


def sweep_sizes(
    device: DeviceChoice, against: Path | None, only: str, output: Path | None, *, full: bool, jobs: int
) -> None:
    """Sweep the operators on `device`, keep it in `output`, and say what differs from `against`."""
    from syncwatch.bench.probing.sweep import SHIPPED, Sweep
    from syncwatch.bench.probing.sweep_run import SweepPlan, sweep

    known = Sweep.load(against or SHIPPED)
    # A GPU may do what the known one did not; the virtual device is only held against what is known.
    everything = full and device is DeviceChoice.CUDA
    plan = SweepPlan(device, only, full, None if everything else known, jobs)
    with progress("probe") as advance:
        found = sweep(plan, Sweep(), advance)
    if output is not None:
        found.save(output)
    _show(known, found, only)


def compare_files(known: Path, found: Path, only: str) -> None:
    """Say what differs between two sweeps, or two tables.

    Raises:
        SessionError: if one cannot be read, or is of the other kind.
    """
    from syncwatch.bench.probing.measured import ProbedTable, differences
    from syncwatch.bench.probing.sweep import Sweep

    try:
        sweep = Sweep.load(known)
    except SessionError:
        shipped, other = ProbedTable.load(known), ProbedTable.load(found)
        show_table(shipped, other, [each for each in differences(shipped, other) if only in each.name])
        return
    _show(sweep, Sweep.load(found), only)


def _show(known: Sweep, found: Sweep, only: str) -> None:
    from syncwatch.bench.probing.sweep import compare, comparison_table, summary

    console = Console(highlight=False, soft_wrap=True)
    counts, comparison = found.counts(), compare(known, found, only)
    console.print(
        f"{len(found.operators)} operators, {counts['cases']} cases, {counts['waiting']} of them wait; "
        f"{counts['failed']} could not run, {counts['stopped']} were left out for their cost "
        f"({found.device}, torch {found.torch}, {found.wall_s:.0f} s).",
        markup=False,
    )
    console.print(f"Against {known.device}, torch {known.torch}:", markup=False)
    lines = [*comparison.rows[:_SHOWN], *comparison_table(comparison), *summary(comparison)]
    for line in lines:
        console.print(line, markup=False)
    if len(comparison.rows) > _SHOWN:
        console.print(f"{len(comparison.rows) - _SHOWN} more differ.")


def probe(
    device: Annotated[
        DeviceChoice, typer.Option(help="cuda measures this GPU; virtual compares the virtual device with a GPU.")
    ] = DeviceChoice.CUDA,
    against: Annotated[
        Optional[Path],  # noqa: UP045  # typer evaluates this on Python 3.10
        typer.Option(help="The table to compare with.", show_default="the shipped one"),
    ] = None,
    only: Annotated[str, typer.Option(help="Part of the operators' names; rates are then left out.")] = "",
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("-o", "--output", help="Write the table: JSON, compressed for a name in .gz."),
    ] = None,
    sizes: Annotated[
        bool,
        typer.Option("--sizes", help="Sweep sizes (1 to a million), layouts, strides, memory, types and backward."),
    ] = False,
    full: Annotated[
        bool,
        typer.Option(
            "--full", help="With --sizes: every case, in half an hour; else one in ten, mostly those that wait."
        ),
    ] = False,
    jobs: Annotated[int, typer.Option(help="With --sizes: processes at once; 0 is half of the cores.")] = 0,
    compare: Annotated[
        Optional[tuple[Path, Path]],  # noqa: UP045
        typer.Option(
            metavar="KNOWN FOUND", help="Measure nothing; say what differs between two tables, or two sweeps."
        ),
    ] = None,
) -> None:
    """Measure which operators wait on this GPU with this torch, and say what differs from the shipped table."""
    if compare is not None:
        compare_files(*compare, only)
        return
    if output is not None:
        require_apart([output], {"the table to compare with": against})
    require_torch()
    if sizes:
        sweep_sizes(device, against, only, output, full=full, jobs=jobs)
        return
    with closing(open_device(device)) as opened:
        from syncwatch.bench.probing.measured import SHIPPED, ProbedTable, differences
        from syncwatch.bench.probing.probe import probe as run_probe

        with progress("probe") as advance:
            found = run_probe(opened, advance, only)
    if output is not None:
        found.save(output)
    known = ProbedTable.load(against or SHIPPED)
    show_table(known, found, list(differences(known, found)))
