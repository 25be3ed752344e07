"""The command `syncwatch doctor`: says what is installed, and which sensors work here."""

from __future__ import annotations

import platform

from rich.console import Console
from rich.table import Table

from syncwatch.compat import tried
from syncwatch.sense.choose_device import require_torch
from syncwatch.version import __version__

_PACKAGES = ("torch", "triton", "nvtx", "rich", "typer", "pytest", "transformers")


def doctor() -> None:
    """Say what is installed, which sensors work here, and why the others do not."""
    require_torch()
    from syncwatch.bench.probing.measured import SHIPPED, ProbedTable
    from syncwatch.compat.tried import installed, newer_here
    from syncwatch.sense.survey import survey
    from syncwatch.sense.virtual.native import library

    console = Console(highlight=False)
    packages = _table("package", "version")
    packages.add_row("syncwatch", __version__)
    packages.add_row("python", platform.python_version())
    for name in _PACKAGES:
        packages.add_row(name, installed(name) or "not installed")
    console.print(packages, "")
    sensors = _table("sensor", "here", "sees", "blind to")
    for entry in survey():
        here = entry.unavailable or "works"
        sensors.add_row(entry.name, here, entry.sees, "; ".join(entry.blind_to) or "nothing known")
    console.print(sensors, "")
    console.print(library.state(), "", soft_wrap=True)
    console.print(_private_names(), "", soft_wrap=True)
    for sentence in newer_here():
        console.print(sentence, "", soft_wrap=True)
    known = ProbedTable.load(SHIPPED).environment
    console.print(f"The virtual device's table was measured on {known.gpu} with torch {known.torch}.", soft_wrap=True)
    if installed("torch") != known.torch:
        console.print("On a GPU, `syncwatch probe` says where the installed torch differs from it.", soft_wrap=True)


def _private_names() -> str:
    """Return a sentence on the undocumented names that syncwatch uses of other packages."""
    gone = tried.gone_names()
    if not gone:
        return f"All {len(tried.private_names())} undocumented names of other packages that syncwatch uses are there."
    return "\n".join(gone)


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table
