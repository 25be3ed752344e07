"""The command `syncwatch probe --sizes`: sweeps operators, and says what differs from a known sweep."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from syncwatch.cli.probe_tables import show_table
from syncwatch.cli.screen import progress
from syncwatch.errors import SessionError
from syncwatch.sense.choose_device import DeviceChoice

if TYPE_CHECKING:
    from syncwatch.bench.probing.sweep import Sweep

_SHOWN = 40
"""Differences that are listed; the rest is counted."""


def sweep_sizes(
    device: DeviceChoice, against: Path | None, only: str, output: Path | None, *, full: bool, jobs: int
) -> None:
    """Sweep the operators on `device`, keep it in `output`, and say what differs from `against`."""
    from syncwatch.bench.probing.sweep import SHIPPED, Sweep
    from syncwatch.bench.probing.sweep_run import Plan, sweep

    known = Sweep.load(against or SHIPPED)
    # A GPU may do what the known one did not; the virtual device is only held against what is known.
    everything = full and device is DeviceChoice.CUDA
    plan = Plan(device, only, full, None if everything else known, jobs)
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
    from syncwatch.bench.probing.sweep import Sweep
    from syncwatch.bench.probing.table import ProbedTable, differences

    try:
        sweep = Sweep.load(known)
    except SessionError:
        table, other = ProbedTable.load(known), ProbedTable.load(found)
        show_table(table, other, [each for each in differences(table, other) if only in each.name])
        return
    _show(sweep, Sweep.load(found), only)


def _show(known: Sweep, found: Sweep, only: str) -> None:
    from syncwatch.bench.probing.sweep_compare import compare, summary, table

    console = Console(highlight=False, soft_wrap=True)
    counts, comparison = found.counts(), compare(known, found, only)
    console.print(
        f"{len(found.operators)} operators, {counts['cases']} cases, {counts['waiting']} of them wait; "
        f"{counts['failed']} could not run, {counts['stopped']} were left out for their cost "
        f"({found.device}, torch {found.torch}, {found.wall_s:.0f} s).",
        markup=False,
    )
    console.print(f"Against {known.device}, torch {known.torch}:", markup=False)
    lines = [*comparison.rows[:_SHOWN], *table(comparison), *summary(comparison)]
    for line in lines:
        console.print(line, markup=False)
    if len(comparison.rows) > _SHOWN:
        console.print(f"{len(comparison.rows) - _SHOWN} more differ.")
