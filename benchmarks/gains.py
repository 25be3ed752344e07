"""Checks the gains that syncwatch states, on programs in which a flag really removes the wait.

    python benchmarks/gains.py run OUT.json
    python benchmarks/gains.py run OUT.json --only decode --save recordings --traces --nsys nsys
    python benchmarks/gains.py run OUT.json --device virtual
    python benchmarks/gains.py show OUT.json
    python benchmarks/gains.py again OUT.json recordings NEW.json

Each program is timed unwatched, with its wait and without, in rounds that alternate; then it is recorded once with the
wait, and what the report says of the gain is held against what removing it gained. Said has to be within 10 % of the
true gain, or 20 us, or 1 % of the step, in 95 % of the programs, and no gain over 5 % of a step may be said where there
is none: else exit 1. What was measured is written after each program. On the virtual device both ways run once on its
clock, which is a model: what is true there is what the model says.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

import msgspec
import torch
import typer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.gain_programs import traces  # noqa: E402
from benchmarks.gain_programs.measure import Truth, built, truth_of  # noqa: E402
from benchmarks.gain_programs.registry import Program, every_program  # noqa: E402
from benchmarks.gain_programs.scenarios import FAMILY, run_scenario, scenario_names  # noqa: E402
from benchmarks.gain_programs.table import Row, Summary, markdown, said_of, summary_of  # noqa: E402
from syncwatch.model.codec import write_json  # noqa: E402
from syncwatch.model.report import RecordingSummary  # noqa: E402
from syncwatch.model.session import DeviceKind, Session  # noqa: E402
from syncwatch.pipeline import report_of  # noqa: E402
from syncwatch.sense.base import WatchedDevice  # noqa: E402
from syncwatch.sense.choose_device import DeviceChoice, open_device  # noqa: E402

_ROUNDS = 7
_RECORDED_LOOPS = 2
"""A recording is so many loops long."""
_THREADS = "the virtual clock does not know that one thread waits for another"


class Results(msgspec.Struct, frozen=True):
    """What the file holds."""

    gpu: str | None
    date: str
    torch: str
    modelled: bool
    rows: list[Row]
    summary: Summary
    failed: dict[str, str]
    """Programs that raised, and what."""


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
Only = Annotated[str, typer.Option(help="Part of family/name, or a pattern with *, of the programs to run.")]
Steps = Annotated[int | None, typer.Option(min=1, help="Steps of a loop; else what takes 60 ms.")]


@dataclass(slots=True)
class Table:
    """The rows so far, kept in a file."""

    output: Path
    gpu: str | None
    modelled: bool
    torch: str = field(default_factory=lambda: str(torch.__version__))
    rows: list[Row] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    def add(self, row: Row) -> None:
        """Take a row, and write the file anew."""
        self.rows.append(row)
        self.write()
        typer.echo(markdown([row]).splitlines()[-1])

    @contextmanager
    def noting(self, name: str) -> Iterator[None]:
        """Note what the block raises, so that a program that fails does not keep the others from running."""
        try:
            yield
        except Exception as error:
            self.failed[name] = f"{type(error).__name__}: {error}".splitlines()[0][:300]
            self.write()
            typer.echo(f"{name}: {self.failed[name]}", err=True)

    def write(self) -> None:
        """Write the file in one piece."""
        today = date.today().isoformat()
        summary = summary_of(self.rows)
        write_json(
            Results(self.gpu, today, self.torch, self.modelled, self.rows, summary, self.failed),
            self.output,
        )


@app.command()
def run(
    output: Path,
    only: Only = "",
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of both ways, in turn.")] = _ROUNDS,
    steps: Steps = None,
    device: DeviceChoice = DeviceChoice.CUDA,
    save: Annotated[Path | None, typer.Option(help="Folder to keep each recording in, as a run file.")] = None,
    with_traces: Annotated[bool, typer.Option("--traces", help="Record with torch.profiler too.")] = False,
    nsys: Annotated[str | None, typer.Option(help="An nsys to record with too.")] = None,
    scenarios: Annotated[bool, typer.Option(help="Run the scenarios too.")] = True,
) -> None:
    """Measure every program, write and print the table, and judge it."""
    if save is not None:
        save.mkdir(parents=True, exist_ok=True)
    timed: dict[str, tuple[Truth, int]] = {}
    with closing(open_device(device)) as opened:
        if opened.kind is DeviceKind.VIRTUAL and (with_traces or nsys):
            raise typer.BadParameter("torch.profiler and nsys see no virtual device")
        virtual = opened.kind is DeviceKind.VIRTUAL
        # Before CUDA is initialised the environment has no name.
        gpu = opened.environment().gpu if virtual else torch.cuda.get_device_name()
        table = Table(output, gpu, virtual)
        for program in _chosen(only):
            with table.noting(program.name):
                timed[program.name] = _measured(program, opened, table, rounds, steps, save)
        for name in _chosen_scenarios(only, virtual=table.modelled) if scenarios else ():
            with table.noting(name):
                row, session = run_scenario(opened, name, rounds, steps)
                table.add(row)
                _keep(session, save, name)
    programs = [program for program in _chosen(only) if program.name in timed]
    # Last, since torch.profiler keeps CUPTI.
    if with_traces:
        _trace_profiler(programs, timed, table, save)
    if nsys is not None:
        _trace_nsys(nsys, only, programs, timed, table, save)
    _end(table.rows, table.failed)


@app.command()
def show(results: Path) -> None:
    """Print and judge a table that was written before."""
    found = msgspec.json.decode(results.read_bytes(), type=Results)
    _end(found.rows, found.failed)


@app.command()
def again(results: Path, recordings: Path, output: Path) -> None:
    """Replay recordings that `run --save` kept, hold them against the truth as it was measured, and write a table."""
    before = msgspec.json.decode(results.read_bytes(), type=Results)
    table = Table(output, before.gpu, before.modelled, before.torch)
    programs = every_program()
    for row in before.rows:
        name = row.name if row.source == "syncwatch" else f"{row.name}.{row.source}"
        path = recordings / f"{name}.json"
        if row.name not in programs or not path.is_file():
            continue
        truth = Truth(row.with_us, row.without_us, row.true_us, row.true_interval_us)
        session = Session.load(path)
        table.gpu = table.gpu or session.environment.gpu
        said = said_of(_busiest(session), programs[row.name])
        table.add(Row.of(row.name, row.family, row.source, truth, said, row.steps, unjudged=row.unjudged))
    _end(table.rows, table.failed)


@app.command()
def play(only: Only = "", steps: Steps = None) -> None:
    """Run the programs with their waits and NVTX ranges alone, for nsys; `run --nsys` calls this."""
    for program in _chosen(only):
        with built(program, DeviceKind.CUDA) as ready:
            traces.play(ready, steps or ready.count())


def _measured(
    program: Program, device: WatchedDevice, table: Table, rounds: int, steps: int | None, save: Path | None
) -> tuple[Truth, int]:
    """Time and record one program, and return its truth with the steps of a loop."""
    with built(program, device.kind) as ready:
        count = steps or ready.count()
        if steps:
            ready.count()
        # Recorded in the middle of the rounds, since the host may be slower now than before.
        times = ready.times(range(rounds // 2), count)
        session = ready.recorded(device, _RECORDED_LOOPS * count)
        times += ready.times(range(rounds // 2, rounds), count)
        truth = truth_of(times)
    _keep(session, save, program.name)
    unjudged = _THREADS if program.real_threads and device.kind is DeviceKind.VIRTUAL else ""
    said = said_of(report_of(session).variants[0], program)
    table.add(Row.of(program.name, program.family, "syncwatch", truth, said, count, unjudged=unjudged))
    return truth, count


def _trace_profiler(
    programs: list[Program], timed: dict[str, tuple[Truth, int]], table: Table, save: Path | None
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for program in programs:
            truth, count = timed[program.name]
            with table.noting(f"{program.name} by torch.profiler"):
                with built(program, DeviceKind.CUDA) as ready:
                    session = traces.profiled(ready, count, Path(folder))
                _add_traced(program, truth, count, session, table, save)


def _trace_nsys(
    nsys: str, only: str, programs: list[Program], timed: dict[str, tuple[Truth, int]], table: Table, save: Path | None
) -> None:
    with tempfile.TemporaryDirectory() as folder, table.noting("nsys"):
        trace = traces.nsys_export(nsys, ["play", "--only", only], Path(folder))
        for program in programs:
            truth, count = timed[program.name]
            with table.noting(f"{program.name} by nsys"):
                _add_traced(program, truth, count, traces.nsys_session(trace, program.name), table, save)


def _add_traced(program: Program, truth: Truth, count: int, session: Session, table: Table, save: Path | None) -> None:
    source = session.recorder.value
    _keep(session, save, f"{program.name}.{source}")
    table.add(Row.of(program.name, program.family, source, truth, said_of(_busiest(session), program), count))


def _busiest(session: Session) -> RecordingSummary:
    """Return the process of a trace that has steps."""
    return max(report_of(session).variants, key=lambda each: each.steps)


def _keep(session: Session, save: Path | None, name: str) -> None:
    if save is not None:
        session.save(save / f"{name}.json")


def _chosen(only: str) -> list[Program]:
    return [each for each in every_program().values() if _matches(f"{each.family}/{each.name}", only)]


def _chosen_scenarios(only: str, *, virtual: bool) -> list[str]:
    return [name for name in scenario_names(virtual=virtual) if _matches(f"{FAMILY}/{name}", only)]


def _matches(name: str, only: str) -> bool:
    return fnmatchcase(name, f"*{only}*")


def _end(rows: list[Row], failed: dict[str, str]) -> None:
    """Print the table and what it comes to, and exit 1 where it does not hold."""
    summary = summary_of(rows)
    typer.echo(f"\n{markdown(rows)}\n\n{summary.words()}")
    for row in rows:
        if row.said_us is None:
            typer.echo(f"unsaid: {row.name} ({row.source}): {row.unknown}")
    for name, why in failed.items():
        typer.echo(f"failed: {name}: {why}")
    raise typer.Exit(0 if summary.true and not failed else 1)


if __name__ == "__main__":
    app()
