"""Checks that the virtual device names the same lines as a GPU, on programs that use many libraries.

Run it once on each device, then compare:

    python benchmarks/programs.py run benchmarks/results/programs.json --device cuda
    python benchmarks/programs.py run /tmp/virtual.json --device virtual
    python benchmarks/programs.py compare benchmarks/results/programs.json /tmp/virtual.json
    python benchmarks/programs.py torches 2.11.json 2.13.json 2.15.json -o benchmarks/results/program_torches.json

Each program of `benchmarks/program_set` runs in a process of its own. A program whose library is missing is skipped by
name. What the file already holds is not run again; `--again` does.

On a GPU the truth is what CUPTI's callbacks saw, each with its stack; what `syncwatch.watch` reports is kept beside it.
A line is known by its file, its function and its text, so that two versions of a library can be compared.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import msgspec
import typer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import syncwatch  # noqa: E402
from benchmarks.torch_changes import reason_for  # noqa: E402
from benchmarks.worker_pool import Ended, jobs_here, run_all  # noqa: E402
from syncwatch.model.codec import write_json  # noqa: E402
from syncwatch.model.session import DeviceKind, Environment, Session  # noqa: E402
from syncwatch.pipeline import report_of  # noqa: E402
from syncwatch.sense.base import WatchedDevice  # noqa: E402
from syncwatch.sense.choose_device import DeviceChoice, open_device  # noqa: E402

_PATH = re.compile(r" \(/[^)]*\)")
"""Absolute paths in messages, which depend on the machine and are left out."""


class Line(msgspec.Struct, frozen=True):
    """A line that waited."""

    file: str
    line: int
    function: str
    source: str
    calls: int

    @property
    def key(self) -> tuple[str, str, str]:
        """Return what identifies the line in other versions of its file."""
        return self.file, self.function, self.source or str(self.line)


class Ran(msgspec.Struct, frozen=True):
    """What one program did on one device."""

    libraries: dict[str, str]
    """The version of each library."""
    seconds: float
    """Seconds of the first run, imports included."""
    syncs: int
    seen: int | None
    """How many waits were seen, with or without a line."""
    d2h_copies: float | None
    h2d_copies: float | None
    lines: list[Line]
    watched: list[Line] | None
    """The lines that `syncwatch.watch` reports of one run; `lines` are those that CUPTI's callbacks saw."""
    notes: list[str]


class Outcome(msgspec.Struct, frozen=True):
    """The outcome of one program: one of `ran`, `skipped` and `failed` is set."""

    environment: Environment | None
    device: str = ""
    ran: Ran | None = None
    skipped: str = ""
    failed: str = ""


class Results(msgspec.Struct):
    """What every program did on one device."""

    device: str = ""
    gpu: str | None = None
    torch: str = ""
    wall_s: float = 0.0
    programs: dict[str, Ran] = {}
    skipped: dict[str, str] = {}
    failed: dict[str, str] = {}

    def known(self) -> set[str]:
        """Return the programs that need not run again; those that failed are tried again."""
        return self.programs.keys() | self.skipped.keys()

    def write(self, path: Path) -> None:
        """Write the file in one piece."""
        for group in (self.programs, self.skipped, self.failed):
            ordered = sorted(group.items())
            group.clear()
            group.update(ordered)  # type: ignore[arg-type]
        write_json(self, path)


class Difference(msgspec.Struct, frozen=True):
    """A line that waits a different number of times on another torch."""

    program: str
    file: str
    source: str
    first: int
    """Waits on the torch that the others are compared with."""
    here: int
    reason: str
    """What torch changed so that the line waits differently; empty where no reason is known."""


class Against(msgspec.Struct, frozen=True):
    """How the programs on one torch compare with those on the first."""

    programs: int
    lines: int
    differences: list[Difference]
    left_out: dict[str, str]
    """Programs that ran on the first torch and not on this one, and why."""


class Torches(msgspec.Struct):
    """How the programs of several torches compare with one."""

    first: str
    others: dict[str, Against] = {}


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def run(
    output: Path,
    device: DeviceChoice = DeviceChoice.AUTO,
    only: Annotated[str, typer.Option(help="Part of the names to run.")] = "",
    jobs: Annotated[int, typer.Option(help="Processes at once; 0 is half of the cores.")] = 0,
    timeout: Annotated[float, typer.Option(help="Seconds that one program may take.")] = 150.0,
    again: Annotated[bool, typer.Option("--again", help="Run what the file holds once more.")] = False,
) -> None:
    """Run every program and write its lines."""
    from benchmarks.program_set.registry import every_program

    began = time.monotonic()
    results = msgspec.json.decode(output.read_bytes(), type=Results) if output.exists() else Results()
    names = [name for name in every_program() if only in name and (again or name not in results.known())]
    with tempfile.TemporaryDirectory() as folder:

        def take(ended: Ended) -> None:
            path = Path(folder, f"{ended.name}.json")
            _take(results, ended, msgspec.json.decode(path.read_bytes(), type=Outcome) if path.exists() else None)
            results.write(output)

        commands = [
            (name, [__file__, "one", name, str(Path(folder, f"{name}.json")), "--device", device.value])
            for name in names
        ]
        run_all(commands, jobs_here(jobs), timeout, device.value, take)
    results.wall_s += round(time.monotonic() - began, 1)
    results.write(output)
    said = f"{len(results.programs)} ran, {len(results.skipped)} skipped, {len(results.failed)} failed"
    typer.echo(f"{said} ({results.device}, torch {results.torch}, {results.wall_s:.0f} s)")
    for name, why in {**results.skipped, **results.failed}.items():
        typer.echo(f"    {name}: {why}")


def _take(results: Results, ended: Ended, outcome: Outcome | None) -> None:
    for group in (results.programs, results.skipped, results.failed):
        group.pop(ended.name, None)
    if outcome is None:
        results.failed[ended.name] = ended.why or "ended without a result"
        typer.echo(f"{ended.name}: FAILED {results.failed[ended.name]}", err=True)
        return
    if outcome.environment is not None:
        results.torch, results.gpu = outcome.environment.torch, outcome.environment.gpu
        results.device = outcome.device
    if outcome.skipped:
        results.skipped[ended.name] = outcome.skipped
        typer.echo(f"{ended.name}: skipped: {outcome.skipped}", err=True)
    elif outcome.ran is None:
        results.failed[ended.name] = outcome.failed
        typer.echo(f"{ended.name}: FAILED {outcome.failed}", err=True)
    else:
        results.programs[ended.name] = outcome.ran
        typer.echo(f"{ended.name}: {outcome.ran.syncs} waits at {len(outcome.ran.lines)} lines", err=True)


@app.command()
def one(name: str, output: Path, device: DeviceChoice = DeviceChoice.AUTO) -> None:
    """Run one program in this process; `run` calls this."""
    from benchmarks.program_set.registry import every_program

    program = every_program()[name]
    missing = [each for each in program.libraries if importlib.util.find_spec(each) is None]
    if missing:
        outcome = Outcome(None, skipped=f"{', '.join(missing)} not installed")
    else:
        outcome = _outcome(program.function, name, program.libraries, device)
    output.write_bytes(msgspec.json.encode(outcome))


def _outcome(function: Callable[[], object], name: str, libraries: tuple[str, ...], choice: DeviceChoice) -> Outcome:
    began = time.monotonic()
    with _kept(choice) as device:
        try:
            _seeded(function)  # the first run also loads modules and compiles
            seconds = round(time.monotonic() - began, 2)
            report, notes = _report(function, name, choice, device)
        except ImportError as error:
            return Outcome(None, skipped=f"{type(error).__name__}: {_first_line(error)}")
        except BaseException as error:
            return Outcome(None, failed=f"{type(error).__name__}: {_first_line(error)}{_where(error)}")
        watched = None
        if device is not None:
            watched, more = _watched(function, name)
            notes = [*notes, *more]
    (variant,) = report.variants
    figures = variant.per_step
    lines = _lines(report)
    ran = Ran(
        libraries={each: _version(each) for each in libraries},
        seconds=seconds,
        syncs=sum(each.calls for each in lines),
        seen=variant.coverage.seen,
        d2h_copies=figures.d2h_copies,
        h2d_copies=figures.h2d_copies,
        lines=lines,
        watched=watched,
        notes=notes,
    )
    return Outcome(report.environment, "virtual" if device is None else "cuda", ran)


@contextlib.contextmanager
def _kept(choice: DeviceChoice) -> Iterator[WatchedDevice | None]:
    """Keep the device open between two watches, so that libraries are watched from their first import on.

    `syncwatch run` does so too. None is yielded for the virtual device, which is only used through `syncwatch.watch`.
    """
    from torch.cuda import is_available

    if choice is DeviceChoice.VIRTUAL or (choice is DeviceChoice.AUTO and not is_available()):
        with syncwatch.watch("virtual"):
            yield None
        return
    with contextlib.closing(open_device(DeviceChoice.CUDA)) as device:
        yield device


def _report(
    function: Callable[[], object], name: str, choice: DeviceChoice, device: WatchedDevice | None
) -> tuple[syncwatch.Report, list[str]]:
    if device is None:
        with syncwatch.watch("virtual", target=name) as watch:
            _seeded(function)
        return watch.report, []
    with device.watch("watched", times=False) as sensed:
        _seeded(function)
    recording = sensed.recording
    assert recording is not None
    session = Session(name, DeviceKind.CUDA, device.environment(), (recording,), outputs_equal=None, complete=True)
    return report_of(session), [each for each in recording.notes if "price pass" not in each]


def _watched(function: Callable[[], object], name: str) -> tuple[list[Line] | None, list[str]]:
    """Return what `syncwatch.watch` reports on a GPU, to keep beside what CUPTI saw; None where it failed."""
    try:
        with syncwatch.watch("cuda", target=name) as watch:
            _seeded(function)
        return _lines(watch.report), []
    except Exception as error:
        return None, [f"watch: {type(error).__name__}: {_first_line(error)}"]


def _seeded(function: Callable[[], object]) -> None:
    import numpy
    import torch

    torch.manual_seed(0)
    random.seed(0)
    numpy.random.seed(0)
    # The first torch.compile in a process switches this off for good (torch/_dynamo/eval_frame.py).
    torch.distributions.Distribution.set_default_validate_args(__debug__)
    function()
    torch.cuda.current_stream()


def _lines(report: syncwatch.Report) -> list[Line]:
    (variant,) = report.variants
    calls: Counter[tuple[str, int, str, str]] = Counter()
    for site in variant.sites:
        calls[_short(site.file), site.line, site.function, site.source] += site.calls
    return [Line(*where, count) for where, count in sorted(calls.items())]


def _short(file: str) -> str:
    """Return the path below the folder that it was imported from."""
    folders = sorted((each.rstrip("/") + "/" for each in sys.path if each), key=len, reverse=True)
    return next((file.removeprefix(each) for each in folders if file.startswith(each)), file)


def _version(library: str) -> str:
    names = importlib.metadata.packages_distributions().get(library, [library])
    try:
        return importlib.metadata.version(names[0])
    except importlib.metadata.PackageNotFoundError:
        return "?"


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else ""


def _where(error: BaseException) -> str:
    trace, where = error.__traceback__, ""
    while trace is not None:
        where = f" ({_short(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno})"
        trace = trace.tb_next
    return where


class _Score:
    """How far the lines of two devices agree."""

    def __init__(self) -> None:
        self.both = self.counted = self.missed = self.invented = self.exact = self.programs = 0

    def add(self, expected: dict[tuple[str, str, str], int], found: dict[tuple[str, str, str], int]) -> None:
        """Count one program."""
        same = expected.keys() & found.keys()
        self.both += len(same)
        self.counted += sum(expected[each] == found[each] for each in same)
        self.missed += len(expected.keys() - found.keys())
        self.invented += len(found.keys() - expected.keys())
        self.exact += expected == found
        self.programs += 1

    def text(self) -> str:
        """Return the figures, a line each."""
        wanted, named = self.both + self.missed, self.both + self.invented
        f1 = 2 * self.both / max(wanted + named, 1)
        f1_counted = 2 * self.counted / max(wanted + named, 1)
        return (
            f"lines: recall {_share(self.both, wanted)}, precision {_share(self.both, named)}, F1 {f1:.4f}; "
            f"with the same count too: F1 {f1_counted:.4f}\n"
            f"programs in which every line and count agrees: {_share(self.exact, self.programs)}"
        )


def _share(part: int, whole: int) -> str:
    return f"{part} of {whole} ({part / whole:.1%})" if whole else "0 of 0"


@app.command()
def compare(
    truth: Path,
    other: Path,
    only: Annotated[str, typer.Option(help="Part of the names.")] = "",
    by_watch: Annotated[
        bool, typer.Option("--by-watch", help="Take `syncwatch.watch` on the GPU as the truth.")
    ] = False,
) -> None:
    """Print recall, precision and F1 over the lines, the crashes, and each difference; exit 1 where there is one."""
    expected = msgspec.json.decode(truth.read_bytes(), type=Results)
    found = msgspec.json.decode(other.read_bytes(), type=Results)
    score, ran = _Score(), _Score()
    apart: list[str] = []
    crashes: dict[str, str] = {}
    left_out: dict[str, str] = {}
    for name, there in expected.programs.items():
        if only not in name:
            continue
        here = found.programs.get(name)
        if here is None and name not in found.failed:
            left_out[name] = found.skipped.get(name, "not run")
            continue
        lines = there.watched or [] if by_watch else there.lines
        wanted = _keys(lines)
        mine = {} if here is None else _keys(here.lines)
        score.add(wanted, mine)
        if here is None:
            crashes[name] = found.failed[name]
            continue
        ran.add(wanted, mine)
        if wanted != mine:
            apart.append(_apart(name, there, here, lines))
    typer.echo("\n".join(apart))
    for title, rows in (("crashed", crashes), ("not compared", left_out)):
        for name, why in rows.items():
            typer.echo(f"{title}: {name}: {why}")
    typer.echo(f"\n{expected.device} torch {expected.torch} against {found.device} torch {found.torch}")
    typer.echo(f"{score.programs} programs, {len(crashes)} crashed, {len(left_out)} not compared\n{score.text()}")
    if crashes:
        typer.echo(f"without those that crashed:\n{ran.text()}")
    raise typer.Exit(1 if apart or crashes else 0)


@app.command()
def torches(
    files: Annotated[list[Path], typer.Argument(help="What `run --device virtual` wrote, a file for each torch.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Where to keep the comparison.")],
    first: Annotated[str, typer.Option(help="The torch that the others are held against.")] = "2.11.0",
) -> None:
    """Compare the programs on several torches, and keep each line that differs; exit 1 where no reason is known.

    Lines are identified by file and text, not by function: a comprehension is a function of its own up to Python 3.11
    only. Programs that did not run on both torches are listed, not compared.
    """
    ran = sorted((msgspec.json.decode(path.read_bytes(), type=Results) for path in files), key=lambda one: one.torch)
    known = next(each for each in ran if each.torch.startswith(first))
    comparison = Torches(first=known.torch)
    for each in ran:
        if each is known:
            continue
        both = sorted(known.programs.keys() & each.programs.keys())
        left_out = {
            name: _PATH.sub("", each.failed.get(name) or each.skipped.get(name, "not run"))
            for name in sorted(known.programs.keys() - each.programs.keys())
        }
        apart = [
            difference
            for name in both
            for difference in _differences(name, known.programs[name], each.programs[name], each.torch)
        ]
        lines = sum(len(_texts(known.programs[name].lines)) for name in both)
        comparison.others[each.torch] = Against(len(both), lines, apart, left_out)
    write_json(comparison, output)
    unexplained = 0
    for torch, against in comparison.others.items():
        typer.echo(f"{comparison.first} and {torch}: {against.programs} programs, {against.lines} lines")
        for row in against.differences:
            unexplained += not row.reason
            typer.echo(f"  {row.program} {row.file}: {row.first}, then {row.here}: {row.source} ({row.reason or '?'})")
        for name, why in against.left_out.items():
            typer.echo(f"  not compared: {name}: {why}")
    raise typer.Exit(1 if unexplained else 0)


def _texts(lines: list[Line]) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for each in lines:
        found[each.file, each.source or str(each.line)] += each.calls
    return found


def _differences(name: str, first: Ran, here: Ran, torch: str) -> Iterator[Difference]:
    there, mine = _texts(first.lines), _texts(here.lines)
    for key in sorted(there.keys() | mine.keys()):
        counts = there.get(key, 0), mine.get(key, 0)
        if counts[0] != counts[1]:
            yield Difference(name, *key, *counts, reason_for(name, key[0], torch))


def _keys(lines: list[Line]) -> dict[tuple[str, str, str], int]:
    found: Counter[tuple[str, str, str]] = Counter()
    for each in lines:
        found[each.key] += each.calls
    return dict(found)


def _apart(name: str, there: Ran, here: Ran, lines: list[Line]) -> str:
    wanted, mine = _keys(lines), _keys(here.lines)
    numbers = {each.key: each.line for each in (*here.lines, *lines)}
    versions = [
        f"{each} {there.libraries[each]} there, {version} here"
        for each, version in here.libraries.items()
        if there.libraries.get(each, version) != version
    ]
    rows = [f"{name}:" + (f" ({'; '.join(versions)})" if versions else "")]
    rows.extend(
        f"    {key[0]}:{numbers[key]}: {wanted.get(key, 0)} there, {mine.get(key, 0)} here: {key[2]}"
        for key in sorted(wanted.keys() | mine.keys())
        if wanted.get(key, 0) != mine.get(key, 0)
    )
    return "\n".join(rows)


if __name__ == "__main__":
    app()
