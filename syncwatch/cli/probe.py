"""Answers: what does `syncwatch probe` do? It measures which operators wait on this GPU, with this torch."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer
from rich.console import Console
from rich.table import Table

from syncwatch.cli.outputs import require_apart
from syncwatch.cli.screen import progress
from syncwatch.sense.device import DeviceChoice, open_device, require_torch

if TYPE_CHECKING:
    from syncwatch.bench.probing.measured import Measured
    from syncwatch.bench.probing.table import Difference, ProbedTable

_SHOWN = 40
"""Differences that are listed; the rest is counted."""


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
) -> None:
    """Measure which operators wait on this GPU with this torch, and say what differs from the shipped table."""
    if output is not None:
        require_apart([output], {"the table to compare with": against})
    require_torch()
    with closing(open_device(device)) as opened:
        from syncwatch.bench.probing.probe import probe as run_probe
        from syncwatch.bench.probing.table import SHIPPED, ProbedTable, differences

        with progress("probe") as advance:
            found = run_probe(opened, advance, only)
    if output is not None:
        found.save(output)
    known = ProbedTable.load(against or SHIPPED)
    _show(known, found, list(differences(known, found)))


def _show(known: ProbedTable, found: ProbedTable, unlike: list[Difference]) -> None:
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
