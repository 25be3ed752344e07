"""Answers: which idioms wait, on a GPU and on the virtual device? Measures the table of `tests/sync_ops.py`.

    python benchmarks/sync_ops.py run --device cuda -o tests/sync_ops_h200.json
    python benchmarks/sync_ops.py run --device virtual -o /tmp/virtual.json
    python benchmarks/sync_ops.py compare tests/sync_ops_h200.json /tmp/virtual.json

On a GPU every sensor runs at once, and each idiom is run once more behind 20 ms of queued work, to see whether the host
truly stands still.
"""

from __future__ import annotations

import contextlib
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from syncwatch.model.events import CopyEvent, Direction, SyncEvent
from syncwatch.model.session import DeviceKind, Recording
from syncwatch.sense.device import DeviceChoice, open_device
from syncwatch.sense.ranges import step

ROOT = Path(__file__).resolve().parents[1]
QUEUED_MS = 20


class Measured(msgspec.Struct, frozen=True):
    """What one idiom did on one device."""

    syncs: dict[str, int]
    """Kind of wait to how often."""
    warned: int
    """How many of them the debug mode saw."""
    copies: dict[str, int]
    """`d2h pinned`, `h2d pageable`, ... to how often; copies on the device are left out."""
    stood_still: bool | None
    """Whether the host waited for queued work; None where it was not tried."""


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
        sys.path.insert(0, str(ROOT))
        from tests.sync_ops import SPECIMENS

        chosen = [each for name, each in SPECIMENS.items() if only in name]
        failed: dict[str, str] = {}
        runnable = [each for each in chosen if _warmed(each, failed)]
        with opened.watch("idioms") as recordings:
            for each in runnable:
                inputs = _inputs(each)
                with step():
                    each.call(*inputs)
        (recording,) = recordings
        on_gpu = opened.kind is DeviceKind.CUDA
        specimens = {
            each.name: _measured(recording, index, _stands_still(each) if on_gpu else None)
            for index, each in enumerate(runnable)
        }
        environment = opened.environment()
    table = Table(opened.kind.value, environment.gpu, environment.torch, specimens, failed)
    output.write_bytes(msgspec.json.format(msgspec.json.encode(table), indent=1) + b"\n")
    typer.echo(f"{len(specimens)} idioms measured, {len(failed)} could not run", err=True)
    for note in recording.notes:
        typer.echo(note, err=True)


def _inputs(specimen: Any) -> list[Any]:
    import torch

    inputs = [make() for make in specimen.inputs]
    torch.cuda.synchronize()
    return inputs


def _warmed(specimen: Any, failed: dict[str, str]) -> bool:
    """Run it once, so that handles, modules and caches exist; what cannot run is noted."""
    try:
        specimen.call(*_inputs(specimen))
    except Exception as error:
        failed[specimen.name] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        return False
    return True


def _measured(recording: Recording, index: int, stood_still: bool | None) -> Measured:
    syncs = [each for each in recording.syncs if each.step == index]
    return Measured(
        syncs=dict(sorted(Counter(each.kind.value for each in syncs).items())),
        warned=sum(_warned(each) for each in syncs),
        copies=dict(sorted(Counter(_moves(recording.copies or (), index)).items())),
        stood_still=stood_still,
    )


def _warned(event: SyncEvent) -> bool:
    return "debug_mode" in event.seen_by


def _moves(copies: tuple[CopyEvent, ...], index: int) -> Iterator[str]:
    for each in copies:
        if each.step == index and each.direction is not Direction.D2D:
            yield f"{each.direction.value} {each.memory.value if each.memory else '?'}"


def _stands_still(specimen: Any) -> bool:
    """Return whether the call returns only after work that was queued before it, the better of three tries."""
    return all(_once_behind_work(specimen) for _ in range(3))


def _once_behind_work(specimen: Any) -> bool:
    import torch

    inputs = _inputs(specimen)
    torch.cuda._sleep(QUEUED_MS * 2_000_000)
    before = time.perf_counter()
    specimen.call(*inputs)
    took = time.perf_counter() - before
    torch.cuda.synchronize()
    return took * 1000 > QUEUED_MS / 2


@app.command()
def compare(truth: Path, other: Path) -> None:
    """Print where `other` differs from `truth`; exit 1 when agreement is below 99 %."""
    expected = msgspec.json.decode(truth.read_bytes(), type=Table)
    found = msgspec.json.decode(other.read_bytes(), type=Table)
    agree = 0
    for name, measured in expected.specimens.items():
        mine = found.specimens.get(name)
        if mine is not None and (mine.syncs, mine.copies) == (measured.syncs, measured.copies):
            agree += 1
            continue
        here = found.failed.get(name, "not run") if mine is None else f"{mine.syncs} {mine.copies}"
        typer.echo(f"{name}: {expected.device} {measured.syncs} {measured.copies}, {found.device} {here}")
    share = agree / max(len(expected.specimens), 1)
    typer.echo(f"{agree} of {len(expected.specimens)} idioms agree: {share:.1%}")
    raise typer.Exit(0 if share >= 0.99 else 1)


if __name__ == "__main__":
    app()
