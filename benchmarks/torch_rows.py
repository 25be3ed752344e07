"""The table of what the virtual device does on each version of torch: its rows, as `torch_versions.py` keeps them."""

from __future__ import annotations

from pathlib import Path

import msgspec


class Agreement(msgspec.Struct, frozen=True):
    """How many idioms, operators or lines do on the virtual device what the GPU did."""

    total: int
    measured: int
    """How many do what an H200 did with torch 2.11."""
    changed: int
    """How many differ from that as the sources of this torch say."""
    wrong: tuple[str, ...]
    """Names of all others."""


class Row(msgspec.Struct, frozen=True):
    """The figures of one version of torch."""

    torch: str
    triton: str | None
    python: str
    cuda: str | None
    """The CUDA that it was built for; None for a build without CUDA."""
    transformers: str | None
    scenarios: dict[str, bool]
    """Whether each scenario ran to its end, with equal outputs where it has any."""
    idioms: Agreement
    operators: Agreement | None
    """None where operators were not measured."""
    programs: Agreement | None
    """Of the lines of programs that wait; None where programs were not measured."""
    f1: float | None
    """F1 over those lines; a line is right where its number of waits agrees too."""
    crashes: tuple[str, ...]
    """Names of idioms, operators and programs that could not run."""


HEADING = (
    "| torch | Triton | Python | built for | scenarios run | idioms | operators | lines of programs | F1 | crashes |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)


def line(row: Row) -> str:
    """Return the row as a line of the table."""
    cells = (
        row.torch.partition("+")[0],
        row.triton or "none",
        ".".join(row.python.split(".")[:2]),
        "the CPU" if row.cuda is None else f"CUDA {row.cuda}",
        f"{sum(row.scenarios.values())} of {len(row.scenarios)}",
        *(_share(each) for each in (row.idioms, row.operators, row.programs)),
        "" if row.f1 is None else f"{row.f1:.4f}",
        str(len(row.crashes)),
    )
    return f"| {' | '.join(cells)} |"


def _share(found: Agreement | None) -> str:
    if found is None:
        return "not asked"
    changed = f" + {found.changed}" if found.changed else ""
    return f"{found.measured}{changed} of {found.total}"


def table(folder: Path) -> str:
    """Return the table of all rows that are kept in `folder`, sorted by version."""
    rows = [msgspec.json.decode(path.read_bytes(), type=Row) for path in sorted(folder.glob("*.json"))]
    rows.sort(key=lambda row: [int(part) for part in row.torch.partition("+")[0].split(".")])
    return "\n".join([HEADING, *map(line, rows)])
