"""Measures which idioms of `tests/helpers/sync_ops.py` wait, on a GPU or on the virtual device, and compares the two.

    python benchmarks/sync_ops.py run --device cuda -o tests/data/sync_ops_h200.json
    python benchmarks/sync_ops.py run --device virtual -o /tmp/virtual.json
    python benchmarks/sync_ops.py compare tests/data/sync_ops_h200.json /tmp/virtual.json

On a GPU every sensor runs at once, and each idiom is run again behind queued work, to see whether the host really
waits.
"""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.torch_changes import IDIOMS, in_force  # noqa: E402
from syncwatch.bench.probing.measured import Measured, ProbedCall, measure  # noqa: E402
from syncwatch.sense.choose_device import DeviceChoice, open_device  # noqa: E402

if TYPE_CHECKING:
    from tests.helpers.sync_ops import Specimen


class Table(msgspec.Struct, frozen=True):
    """What every idiom did on one device."""

    device: str
    gpu: str | None
    torch: str
    specimens: dict[str, Measured]
    failed: dict[str, str]


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def run(
    output: Annotated[Path, typer.Option("-o", "--output")],
    device: DeviceChoice = DeviceChoice.AUTO,
    only: Annotated[str, typer.Option(help="Part of the names to run.")] = "",
) -> None:
    """Run every idiom and write what it did."""
    warnings.simplefilter("ignore")
    with contextlib.closing(open_device(device)) as opened:
        from tests.helpers.sync_ops import SPECIMENS

        calls = [_call(each) for name, each in SPECIMENS.items() if only in name]
        specimens, failed = measure(calls, opened)
        environment = opened.environment()
    table = Table(opened.kind.value, environment.gpu, environment.torch, specimens, failed)
    output.write_bytes(msgspec.json.format(msgspec.json.encode(table), indent=1) + b"\n")
    typer.echo(f"{len(specimens)} idioms measured, {len(failed)} could not run", err=True)


def _call(specimen: Specimen) -> ProbedCall:
    def prepare() -> Callable[[], object]:
        inputs = [make() for make in specimen.inputs]
        return lambda: specimen.call(*inputs)

    return ProbedCall(specimen.name, prepare)


@app.command()
def coverage(table: Path) -> None:
    """Print how many waits have a line, and whether any was missed or invented; exit 1 where one was."""
    found = msgspec.json.decode(table.read_bytes(), type=Table).specimens
    seen = sum(each.seen.get("cupti", 0) for each in found.values())
    with_line = sum(each.with_line or 0 for each in found.values())
    invented = {name: each for name, each in found.items() if each.unseen_by_cupti}
    missed = {name: each for name, each in found.items() if each.stood_still and not each.syncs}
    lineless = {name: each for name, each in found.items() if (each.with_line or 0) < sum(each.syncs.values())}
    typer.echo(f"{len(found)} idioms: CUPTI saw {seen} synchronizations, {with_line} have a line.")
    still = sum(bool(each.stood_still) for each in found.values())
    typer.echo(f"The host stood still in {still}; not found: {len(missed)}; seen by a hook alone: {len(invented)}.")
    for title, rows in (("no line", lineless), ("not found", missed), ("hook alone", invented)):
        for name, each in rows.items():
            typer.echo(f"  {title}: {name}: {each.syncs} seen by {each.seen}, copies {each.copies}")
    raise typer.Exit(1 if missed or lineless or invented else 0)


@app.command()
def compare(truth: Path, other: Path) -> None:
    """Print where `other` differs from `truth`; exit 1 when agreement is below 99 %.

    Where a newer torch waits differently by its own sources, it is compared with those (`torch_changes.py`).
    """
    expected = msgspec.json.decode(truth.read_bytes(), type=Table)
    found = msgspec.json.decode(other.read_bytes(), type=Table)
    changes = in_force(IDIOMS, found.torch)
    agree = 0
    for name, measured in expected.specimens.items():
        mine = found.specimens.get(name)
        wanted = changes.get(name, measured)
        if mine is not None and (mine.syncs, mine.copies) == (dict(wanted.syncs), dict(wanted.copies)):
            agree += 1
            continue
        here = found.failed.get(name, "not run") if mine is None else f"{mine.syncs} {mine.copies}"
        typer.echo(f"{name}: {expected.device} {measured.syncs} {measured.copies}, {found.device} {here}")
    share = agree / max(len(expected.specimens), 1)
    typer.echo(f"{agree} of {len(expected.specimens)} idioms agree: {share:.1%}")
    raise typer.Exit(0 if share >= 0.99 else 1)


if __name__ == "__main__":
    app()
