"""Compares the virtual device with a GPU on which operators wait, family by family.

    python benchmarks/virtual_ops.py                    against the shipped measurement of an H200
    python benchmarks/virtual_ops.py --truth FILE       against another table of `syncwatch probe -o FILE`
    python benchmarks/virtual_ops.py -o FILE            and keep what differs

Runs torch's own operator samples. A sample whose shapes differ from the table's is left out and counted, as torch's
samples change between versions.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from syncwatch.bench.probing.measured import SHIPPED, ProbedTable
from syncwatch.bench.probing.probe import probe
from syncwatch.sense.choose_device import DeviceChoice, open_device


@dataclass(slots=True)
class Tally:
    """How often the two devices agree on whether a sample waits."""

    hits: int = 0
    quiet: int = 0
    missed: int = 0
    invented: int = 0

    def count(self, there: bool, here: bool) -> None:
        """Count one sample."""
        self.hits += there and here
        self.quiet += not there and not here
        self.missed += there and not here
        self.invented += here and not there

    def row(self, name: str) -> str:
        """Return a row of the table; a share of no cases is left blank."""
        cases = self.hits + self.quiet + self.missed + self.invented
        shares = (
            _share(self.hits + self.quiet, cases),
            _share(self.hits, self.hits + self.missed),
            _share(self.hits, self.hits + self.invented),
        )
        return f"| {name} | {cases} | {' | '.join(shares)} |"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.2%}" if whole else ""


class Differences(msgspec.Struct, frozen=True):
    """How far the virtual device agrees with a GPU on whether a sample waits."""

    cases: int
    missed: tuple[str, ...]
    """Samples that wait on the GPU alone."""
    invented: tuple[str, ...]
    """Samples that wait on the virtual device alone."""
    failed: tuple[str, ...]
    """Samples that could not run on the virtual device."""
    left_out: int
    """How many samples have other shapes in this version of torch."""


def main(
    truth: Annotated[Path, typer.Option(help="A table that syncwatch probe wrote on a GPU.")] = SHIPPED,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write what differs as JSON.")] = None,
) -> None:
    """Run every sample on the virtual device and print the figures for each family."""
    known = ProbedTable.load(truth)
    with closing(open_device(DeviceChoice.VIRTUAL)) as device:
        found = probe(device, lambda phase, done, total: None)
    families: dict[str, Tally] = defaultdict(Tally)
    everything = Tally()
    exact = left_out = 0
    missed: list[str] = []
    invented: list[str] = []
    for name, measured in known.operators.items():
        here = found.operators.get(name)
        if here is None or found.signatures[name] != known.signatures[name]:
            left_out += 1
            continue
        for tally in (families[_family(name)], everything):
            tally.count(measured.waits, here.waits)
        if measured.waits != here.waits:
            (missed if measured.waits else invented).append(name)
        exact += (measured.syncs, measured.copies) == (here.syncs, here.copies)
    typer.echo("| family | cases | agreement | recall | precision |\n|---|---|---|---|---|")
    for family, tally in sorted(families.items()):
        typer.echo(tally.row(family))
    typer.echo(everything.row("all"))
    cannot = [name for name in found.failed if name in known.operators]
    if output is not None:
        cases = everything.hits + everything.quiet + everything.missed + everything.invented
        kept = Differences(cases, tuple(missed), tuple(invented), tuple(cannot), left_out - len(cannot))
        output.write_bytes(msgspec.json.format(msgspec.json.encode(kept), indent=1) + b"\n")
    typer.echo(f"\nthe same synchronizations and copies, by kind and number: {exact}")
    typer.echo(f"could not run here: {len(cannot)} {cannot}; left out for other shapes: {left_out - len(cannot)}")


def _family(name: str) -> str:
    """Return the namespace of an operator, or `tensor`."""
    return name.partition("|")[0].rpartition(".")[0] or "tensor"


if __name__ == "__main__":
    typer.run(main)
