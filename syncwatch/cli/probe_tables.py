"""Shows a probe's table: how many samples wait, and where two tables differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from syncwatch.bench.probing.measured import Measured
    from syncwatch.bench.probing.table import Difference, ProbedTable

_SHOWN = 40
"""Differences that are listed; the rest is counted."""


def show_table(known: ProbedTable, found: ProbedTable, unlike: list[Difference]) -> None:
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
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for heading in ("sample", "there", "here"):
        table.add_column(heading, overflow="fold")
    for each in unlike[:_SHOWN]:
        table.add_row(each.name, _brief(each.known), _brief(each.found))
    if unlike:
        console.print(table)
    if len(unlike) > _SHOWN:
        console.print(f"and {len(unlike) - _SHOWN} more.")


def _brief(measured: Measured) -> str:
    parts = [f"{count} {name}" for name, count in (*measured.syncs.items(), *measured.copies.items())]
    return ", ".join(parts) or "nothing"
