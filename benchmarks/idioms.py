"""Measures which of the idioms in `idiom_set.py` wait, on a GPU or on the virtual device, and compares the two.

    python benchmarks/idioms.py run benchmarks/results/idioms.json --device cuda
    python benchmarks/idioms.py run /tmp/virtual.json --device virtual
    python benchmarks/idioms.py compare benchmarks/results/idioms.json /tmp/virtual.json

They run in parts, each in a process of its own; a part that dies runs again in smaller ones, so that one idiom cannot
end the others. What the file already holds is not run again; `--again` does.
"""

from __future__ import annotations

import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.worker_pool import Ended, jobs_here, run_all  # noqa: E402
from syncwatch.bench.probing.measured import Measured, ProbedCall  # noqa: E402
from syncwatch.model.codec import write_json  # noqa: E402
from syncwatch.model.session import Environment  # noqa: E402
from syncwatch.sense.choose_device import DeviceChoice  # noqa: E402

if TYPE_CHECKING:
    from benchmarks.idiom_set import Idiom

_PARTS = (40, 6, 1)
"""How many idioms one process runs in the first try, and in the second and third for those that did not finish."""
_POISONED = ("CUDA error", "device-side assert", "AcceleratorError")
"""Words of the errors that every later call raises once a call has broken the CUDA context."""


class Part(msgspec.Struct):
    """What some idioms did."""

    device: str
    environment: Environment
    idioms: dict[str, Measured]
    failed: dict[str, str]


class Table(msgspec.Struct):
    """What every idiom did on one device."""

    device: str = ""
    gpu: str | None = None
    torch: str = ""
    wall_s: float = 0.0
    idioms: dict[str, Measured] = {}
    failed: dict[str, str] = {}

    def write(self, path: Path) -> None:
        """Write the file in one piece."""
        write_json(self, path)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def run(
    output: Path,
    device: DeviceChoice = DeviceChoice.AUTO,
    only: Annotated[str, typer.Option(help="Part of the names to run.")] = "",
    jobs: Annotated[int, typer.Option(help="Processes at once; 0 is half of the cores.")] = 0,
    timeout: Annotated[float, typer.Option(help="Seconds that one process may take.")] = 150.0,
    again: Annotated[bool, typer.Option("--again", help="Run what the file holds once more.")] = False,
) -> None:
    """Run every idiom and write what it did."""
    from benchmarks.idiom_set import IDIOMS

    began = time.monotonic()
    table = msgspec.json.decode(output.read_bytes(), type=Table) if output.exists() else Table()
    left = [name for name in IDIOMS if only in name and (again or name not in table.idioms)]
    for name in left:
        table.idioms.pop(name, None)
        table.failed.pop(name, None)
    for size in _PARTS:
        # Neighbours in the table cost about the same, so each part takes every n-th idiom: some of every kind.
        count = -(-len(left) // size)
        parts = [left[start::count] for start in range(count)]
        _run_parts(table, parts, output, device, jobs_here(jobs), timeout, last=size == 1)
        left = [name for name in left if name not in table.idioms and name not in table.failed]
    table.wall_s += round(time.monotonic() - began, 1)
    table.write(output)
    typer.echo(
        f"{len(table.idioms)} measured, {len(table.failed)} could not run ({table.device}, {table.wall_s:.0f} s)"
    )
    for name, reason in table.failed.items():
        typer.echo(f"    {name}: {reason}")


def _run_parts(
    table: Table, parts: list[list[str]], output: Path, device: DeviceChoice, jobs: int, timeout: float, last: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:

        def take(ended: Ended) -> None:
            path = Path(folder, f"{ended.name}.out")
            if path.exists():
                _take(table, msgspec.json.decode(path.read_bytes(), type=Part), last)
                table.write(output)
            elif last:
                table.failed[parts[int(ended.name)][0]] = ended.why
            typer.echo(f"part {ended.name}: {ended.why or 'done'}", err=True)

        commands = []
        for index, names in enumerate(parts):
            asked = Path(folder, f"{index}.in")
            asked.write_bytes(msgspec.json.encode(names))
            arguments = ["part", str(asked), str(asked.with_suffix(".out")), "--device", device.value]
            commands.append((str(index), [__file__, *arguments]))
        run_all(commands, jobs, timeout, device.value, take)


def _take(table: Table, part: Part, last: bool) -> None:
    table.torch, table.gpu = part.environment.torch, part.environment.gpu
    table.device = part.device
    if not last and any(said in reason for reason in part.failed.values() for said in _POISONED):
        return
    table.idioms.update(part.idioms)
    table.failed.update(part.failed)


@app.command()
def part(asked: Path, output: Path, device: DeviceChoice = DeviceChoice.AUTO) -> None:
    """Measure some idioms in this process; `run` calls this."""
    warnings.simplefilter("ignore")
    from benchmarks.stepped import opened

    with opened(device) as stepped:
        from benchmarks.idiom_set import IDIOMS

        names = msgspec.json.decode(asked.read_bytes(), type=list[str])
        measured, failed = stepped.measure([_call(IDIOMS[name]) for name in names])
        found = Part(stepped.name, stepped.environment(), measured, failed)
    output.write_bytes(msgspec.json.encode(found))


def _call(idiom: Idiom) -> ProbedCall:
    def prepare() -> Callable[[], object]:
        import torch

        torch.manual_seed(0)
        inputs: list[object] = []
        for make in idiom.inputs:
            made = make()
            inputs.extend(made) if isinstance(made, tuple) else inputs.append(made)
        return lambda: idiom.call(*inputs)

    return ProbedCall(idiom.name, prepare)


@app.command()
def compare(truth: Path, other: Path) -> None:
    """Print recall and precision over idioms that wait, and each difference; exit 1 where there is one."""
    expected = msgspec.json.decode(truth.read_bytes(), type=Table)
    found = msgspec.json.decode(other.read_bytes(), type=Table)
    hits = missed = invented = counts = exact = total = 0
    crashed: list[str] = []
    left_out: list[str] = []
    for name, there in expected.idioms.items():
        here = found.idioms.get(name)
        if here is None and name not in found.failed:
            left_out.append(name)
            continue
        total += 1
        if here is None:
            crashed.append(f"{name}: {found.failed[name]}")
            missed += there.waits
            continue
        hits += there.waits and here.waits
        missed += there.waits and not here.waits
        invented += here.waits and not there.waits
        counts += there.syncs == here.syncs
        exact += (there.syncs, there.copies) == (here.syncs, here.copies)
        if (there.syncs, there.copies) != (here.syncs, here.copies):
            mark = "" if there.waits == here.waits else "MISSED " if there.waits else "INVENTED "
            typer.echo(f"{mark}{name}: {there.syncs} {there.copies} there, {here.syncs} {here.copies} here")
    for title, rows in (("crashed", crashed), ("not compared", left_out)):
        for row in rows:
            typer.echo(f"{title}: {row}")
    recall, precision = hits / max(hits + missed, 1), hits / max(hits + invented, 1)
    typer.echo(f"\n{expected.device} torch {expected.torch} against {found.device} torch {found.torch}")
    typer.echo(
        f"{total} idioms, {len(crashed)} crashed, {len(left_out)} not compared; waits: recall {recall:.2%}, precision "
        f"{precision:.2%}; waits agree by kind and number: {counts}; with copies: {exact}"
    )
    raise typer.Exit(0 if exact == total else 1)


if __name__ == "__main__":
    app()
