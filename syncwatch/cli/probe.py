"""The command `syncwatch probe`: measures which operators wait on this GPU, with this torch."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated, Optional

import typer

from syncwatch.cli.outputs import require_apart
from syncwatch.cli.probe_sizes import compare_files, sweep_sizes
from syncwatch.cli.probe_tables import show_table
from syncwatch.cli.screen import progress
from syncwatch.sense.choose_device import DeviceChoice, open_device, require_torch


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
        from syncwatch.bench.probing.probe import probe as run_probe
        from syncwatch.bench.probing.table import SHIPPED, ProbedTable, differences

        with progress("probe") as advance:
            found = run_probe(opened, advance, only)
    if output is not None:
        found.save(output)
    known = ProbedTable.load(against or SHIPPED)
    show_table(known, found, list(differences(known, found)))
