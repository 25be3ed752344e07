"""Checks the prices that syncwatch states, on programs in which the length of each stall is known.

    python benchmarks/prices.py OUT.json

Exit 1 when a price is off by more than 5 % and more than 20 us.
"""

from __future__ import annotations

import statistics
import sys
from datetime import date
from pathlib import Path

import msgspec
import torch
import typer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from syncwatch.model.events import SyncKind  # noqa: E402
from syncwatch.model.report import RecordingSummary  # noqa: E402
from syncwatch.model.session import DeviceKind, Session  # noqa: E402
from syncwatch.pipeline import report_of  # noqa: E402
from syncwatch.sense.base import Sensed  # noqa: E402
from syncwatch.sense.choose_device import DeviceChoice, open_device  # noqa: E402
from syncwatch.sense.scopes.ranges import pacing, step  # noqa: E402
from tests.helpers.price_programs import PROGRAMS, Clock, Program, Stall, drained  # noqa: E402

_STEPS, _WARMUP = 20, 3
_RELATIVE, _ABSOLUTE_US = 0.05, 20.0


class Row(msgspec.Struct, frozen=True):
    """One program: its known stall and what syncwatch said of it, in microseconds a step."""

    program: str
    known_blocked_us: float
    said_blocked_us: float | None
    known_bubble_us: float
    said_bubble_us: float | None
    waits_a_step: float
    line: str

    @property
    def true(self) -> bool:
        """Return whether both prices are within the limits."""
        return _close(self.known_blocked_us, self.said_blocked_us) and _close(self.known_bubble_us, self.said_bubble_us)


class Results(msgspec.Struct, frozen=True):
    """What the file holds."""

    gpu: str
    date: str
    torch: str
    rows: list[Row]


def main(output: Path) -> None:
    """Run every program and write what syncwatch said of it."""
    device = open_device(DeviceChoice.CUDA)
    clock = Clock()
    programs = {name: build(clock) for name, build in PROGRAMS.items()}
    stalls: dict[str, list[Stall]] = {}
    sensed: dict[str, Sensed] = {}
    for name, program in programs.items():
        with device.watch(name) as sensed[name]:
            stalls[name] = _run(program)
    rows = [_row(name, stalls[name], _variant(sensed[name], device.environment())) for name in programs]
    results = Results(torch.cuda.get_device_name(), date.today().isoformat(), str(torch.__version__), rows)
    output.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")
    _print(rows)
    raise typer.Exit(0 if all(row.true for row in rows) else 1)


def _run(program: Program) -> list[Stall]:
    found = []
    with pacing(), drained():
        pass
    for index in range(_WARMUP + _STEPS):
        with step(warmup=index < _WARMUP):
            found.append(program())
        with pacing(), drained():
            pass
    return found[_WARMUP:]


def _variant(sensed: Sensed, environment: object) -> RecordingSummary:
    assert sensed.recording is not None
    session = Session("prices", DeviceKind.CUDA, environment, (sensed.recording,), None, True)  # type: ignore[arg-type]
    return report_of(session).variants[0]


def _row(name: str, stalls: list[Stall], variant: RecordingSummary) -> Row:
    site = max(
        (each for each in variant.sites if each.kind is not SyncKind.ALLOCATION and "other" not in each.function),
        key=lambda each: each.host_blocked_us or 0.0,
    )
    only_stream = stalls[0].idle_streams
    return Row(
        program=name,
        known_blocked_us=statistics.median(stall.queued_ns for stall in stalls) / 1e3,
        said_blocked_us=site.host_blocked_us,
        known_bubble_us=statistics.mean(stall.host_ns for stall in stalls) / 1e3,
        said_bubble_us=site.stream_idle_us if only_stream else site.gpu_idle_us,
        waits_a_step=site.calls_per_step,
        line=f"{site.file}:{site.line}",
    )


def _close(known: float, said: float | None) -> bool:
    return said is not None and abs(said - known) <= max(_RELATIVE * known, _ABSOLUTE_US)


def _print(rows: list[Row]) -> None:
    typer.echo("| program | blocked, known | said | bubble, known | said | true |\n|---|---|---|---|---|---|")
    for row in rows:
        blocked = "-" if row.said_blocked_us is None else f"{row.said_blocked_us:.0f} us"
        bubble = "-" if row.said_bubble_us is None else f"{row.said_bubble_us:.0f} us"
        typer.echo(
            f"| {row.program} | {row.known_blocked_us:.0f} us | {blocked} | {row.known_bubble_us:.0f} us | {bubble} "
            f"| {'yes' if row.true else 'NO'} |"
        )


if __name__ == "__main__":
    typer.run(main)
