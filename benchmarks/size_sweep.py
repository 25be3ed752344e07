"""Answers: does an operator wait at every size, layout and type where a GPU does? Every operator of torch's database.

    python benchmarks/size_sweep.py run benchmarks/results/sweep.json.gz --device cuda
    python benchmarks/size_sweep.py run /tmp/virtual.json.gz --device virtual --like benchmarks/results/sweep.json.gz
    python benchmarks/size_sweep.py compare benchmarks/results/sweep.json.gz /tmp/virtual.json.gz

`benchmarks/sweep_cases.py` says what is tried. `--like` leaves out what the GPU could not run. Where one size of a
group takes too long, or its results grow too large, the larger ones are left out, and listed: `compare` counts them
as not compared. The operators are dealt to processes; one that dies is started again behind the case that ended it.
What the file already holds is not run again.
"""

from __future__ import annotations

import gzip
import os
import sys
import tempfile
import time
import warnings
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import msgspec
import typer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.worker_pool import Ended, jobs_here, run_all  # noqa: E402
from syncwatch.model.codec import write_bytes  # noqa: E402
from syncwatch.sense.device import DeviceChoice  # noqa: E402

if TYPE_CHECKING:
    from benchmarks.stepped import Stepped
    from benchmarks.sweep_cases import Case

_POISONED = ("CUDA error", "device-side assert", "AcceleratorError", "CUBLAS_STATUS", "cuDNN error")
_ROUNDS = 60
_LARGEST_RESULT = 200_000_000
"""Elements."""
_HOST_MEMORY = 24 << 30
"""Address space of a process without a GPU, so that a result that is too large is refused rather than swapped."""


class Did(msgspec.Struct, frozen=True):
    """What one case did."""

    waits: dict[str, int] = {}
    copies: dict[str, int] = {}


class Operator(msgspec.Struct):
    """What the cases of one operator did."""

    name: str
    cases: dict[str, Did] = {}
    signatures: dict[str, str] = {}
    """By group."""
    failed: dict[str, str] = {}
    stopped: dict[str, str] = {}
    """Cases that were not tried, and why."""
    broke: str = ""
    """The case after which the process was of no use."""


class Sweep(msgspec.Struct):
    """What every operator did on one device."""

    device: str = ""
    gpu: str | None = None
    torch: str = ""
    wall_s: float = 0.0
    operators: dict[str, Operator] = {}

    def write(self, path: Path) -> None:
        """Write the file in one piece."""
        raw = msgspec.json.format(msgspec.json.encode(self), indent=0) + b"\n"
        write_bytes(gzip.compress(raw, mtime=0) if path.suffix == ".gz" else raw, path)


class Asked(msgspec.Struct):
    """What one process does."""

    operators: list[str]
    skip: list[str]
    """Cases that ended a process before."""
    only: dict[str, list[str]] | None
    """Operator to the cases to try; None tries all."""
    limit_s: float


def _load(path: Path) -> Sweep:
    raw = path.read_bytes()
    return msgspec.json.decode(gzip.decompress(raw) if path.suffix == ".gz" else raw, type=Sweep)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def run(
    output: Path,
    device: DeviceChoice = DeviceChoice.AUTO,
    only: Annotated[str, typer.Option(help="Part of the operators' names.")] = "",
    like: Annotated[Optional[Path], typer.Option(help="Try only what this file measured.")] = None,  # noqa: UP045
    jobs: Annotated[int, typer.Option(help="Processes at once; 0 is half of the cores.")] = 0,
    timeout: Annotated[float, typer.Option(help="Seconds that one process may take.")] = 600.0,
    limit: Annotated[float, typer.Option(help="Seconds that one case may be expected to take.")] = 1.0,
) -> None:
    """Try every case of every operator and write what it did."""
    from benchmarks.sweep_cases import names

    began = time.monotonic()
    sweep = _load(output) if output.exists() else Sweep()
    known = _load(like) if like is not None else None
    left = [name for name in names() if only in name and name not in sweep.operators]
    if known is not None:
        left = [name for name in left if name in known.operators and known.operators[name].cases]
    skip: list[str] = []
    count = jobs_here(jobs)
    for attempt in range(_ROUNDS):
        if not left:
            break
        asked = [
            Asked(
                part, skip, None if known is None else {each: list(known.operators[each].cases) for each in part}, limit
            )
            for part in _dealt(left, count * (4 if attempt == 0 else 1))
        ]
        _round(sweep, asked, output, device, count, timeout, skip)
        left = [name for name in left if name not in sweep.operators]
    sweep.wall_s += round(time.monotonic() - began, 1)
    sweep.write(output)
    cases = sum(len(each.cases) for each in sweep.operators.values())
    waiting = sum(bool(case.waits) for each in sweep.operators.values() for case in each.cases.values())
    stopped = sum(len(each.stopped) for each in sweep.operators.values())
    failed = sum(len(each.failed) for each in sweep.operators.values())
    typer.echo(
        f"{len(sweep.operators)} operators, {cases} cases, {waiting} wait; {failed} could not run, {stopped} left out "
        f"for their cost; {len(skip)} ended a process: {skip} "
        f"({sweep.device}, torch {sweep.torch}, {sweep.wall_s:.0f} s)"
    )


def _dealt(names: list[str], parts: int) -> list[list[str]]:
    return [names[start::parts] for start in range(min(parts, len(names)))]


def _round(
    sweep: Sweep, asked: list[Asked], output: Path, device: DeviceChoice, jobs: int, timeout: float, skip: list[str]
) -> None:
    with tempfile.TemporaryDirectory() as folder:

        def take(ended: Ended) -> None:
            done = Path(folder, f"{ended.name}.lines")
            for line in done.read_bytes().splitlines() if done.exists() else ():
                _take(sweep, line, skip)
            at = Path(folder, f"{ended.name}.at")
            if ended.why and at.exists() and at.read_text():
                skip.append(at.read_text())
            sweep.write(output)
            typer.echo(f"{len(sweep.operators)} operators; {ended.why}", err=True)

        commands = []
        for index, each in enumerate(asked):
            Path(folder, f"{index}.in").write_bytes(msgspec.json.encode(each))
            commands.append((str(index), [__file__, "part", str(Path(folder, str(index))), "--device", device.value]))
        run_all(commands, jobs, timeout, device.value, take)


def _take(sweep: Sweep, line: bytes, skip: list[str]) -> None:
    if line.startswith(b'{"device"'):
        about = msgspec.json.decode(line)
        sweep.device, sweep.gpu, sweep.torch = about["device"], about["gpu"], about["torch"]
        return
    operator = msgspec.json.decode(line, type=Operator)
    if operator.broke:
        skip.append(operator.broke)
    else:
        sweep.operators[operator.name] = operator


@app.command()
def part(stem: Path, device: DeviceChoice = DeviceChoice.AUTO) -> None:
    """Try some operators in this process; `run` calls this."""
    warnings.simplefilter("ignore")
    asked = msgspec.json.decode(stem.with_suffix(".in").read_bytes(), type=Asked)
    from benchmarks.stepped import opened

    with opened(device) as stepped, stem.with_suffix(".lines").open("wb", buffering=0) as lines:
        if stepped.device is None:
            _bounded()
        environment = stepped.environment()
        about = {"device": stepped.name, "gpu": environment.gpu, "torch": environment.torch}
        lines.write(msgspec.json.encode(about) + b"\n")
        at = stem.with_suffix(".at").open("w+")
        for name in asked.operators:
            operator = _try(stepped, name, asked, at)
            lines.write(msgspec.json.encode(operator) + b"\n")
            if operator.broke:
                sys.stderr.write(f"{operator.broke} broke the context\n")
                sys.stderr.flush()
                os._exit(3)
        at.truncate(0)


def _bounded() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (_HOST_MEMORY, _HOST_MEMORY))


def _try(stepped: Stepped, name: str, asked: Asked, at: Any) -> Operator:
    from benchmarks.sweep_cases import cases
    from syncwatch.bench.probing.measured import _measured
    from syncwatch.model.session import Recording

    operator = Operator(name, {}, {}, {}, {})
    only = None if asked.only is None else set(asked.only[name])
    found: list[Recording] = []
    ran: list[Case] = []
    steps: list[int] = []
    counter = _Steps()
    expected = _Costs(asked.limit_s)
    with stepped.recorded(found.append):
        for case in cases(name):
            if only is not None and case.name not in only:
                continue
            if case.name in asked.skip:
                operator.failed[case.name] = "ended the process"
                continue
            why_not = expected.why_not(case)
            if why_not:
                operator.stopped[case.name] = why_not
                continue
            at.seek(0)
            at.truncate()
            at.write(case.name)
            at.flush()
            failed = _one(stepped, case, counter, expected)
            if any(said in failed for said in _POISONED):
                operator.broke = case.name
                break
            if failed:
                operator.failed[case.name] = failed
                continue
            ran.append(case)
            steps.append(counter.entered - 1)
    for case, index in zip(ran, steps, strict=True):
        measured = _measured(found[0], index, None)
        operator.cases[case.name] = Did(measured.syncs, measured.copies)
        operator.signatures[case.group] = case.signature
    return operator


class _Steps:
    """How many steps were entered."""

    def __init__(self) -> None:
        self.entered = 0


class _Costs:
    """What the cases of an operator cost so far, and so what a larger one is expected to."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._last: dict[str, tuple[int, float, int]] = {}

    def note(self, case: Case, seconds: float, results: int) -> None:
        """Note what `case` took and how many elements it gave."""
        self._last[case.group] = (case.size, seconds, results)

    def why_not(self, case: Case) -> str:
        """Return why the case is left out; empty where it is not."""
        if case.group not in self._last:
            return ""
        size, seconds, results = self._last[case.group]
        ratio = case.size / size
        if ratio > 1 and seconds * ratio > self._limit_s and seconds > 0.01:
            return f"{size} elements took {seconds:.2f} s"
        if results > 4 * size and results * ratio * ratio > _LARGEST_RESULT:
            return f"{size} elements gave {results}"
        return ""


def _one(stepped: Stepped, case: Case, counter: _Steps, expected: _Costs) -> str:
    """Run one case; return why it could not run, else nothing."""
    import torch

    import syncwatch
    from benchmarks.stepped import why

    try:
        began = time.perf_counter()
        act = case.prepare()
        torch.cuda.synchronize()
        if stepped.device is not None:
            result = act()  # handles, modules and workspaces are made by the first
            torch.cuda.synchronize()
            expected.note(case, time.perf_counter() - began, _elements(result))
            del result
            act = case.prepare()
            torch.cuda.synchronize()
        counter.entered += 1
        with syncwatch.step():
            result = act()
        torch.cuda.synchronize()
        expected.note(case, time.perf_counter() - began, _elements(result))
    except Exception as error:
        return why(error)
    return ""


def _elements(result: object) -> int:
    from benchmarks.sweep_cases import _tensors

    return sum(each.numel() for each in _tensors(result) if not each.is_nested)


@app.command()
def compare(
    truth: Path, other: Path, only: Annotated[str, typer.Option(help="Part of the operators' names.")] = ""
) -> None:
    """Print agreement over cases and operators, and each difference; exit 1 where one waits and the other does not."""
    expected, found = _load(truth), _load(other)
    total: Counter[str] = Counter()
    families: dict[str, Counter[str]] = defaultdict(Counter)
    rows: dict[str, list[str]] = defaultdict(list)
    agreeing = waiting_right = waiting = named = compared_operators = 0
    for name, there in expected.operators.items():
        if only not in name:
            continue
        mine: Counter[str] = Counter()
        here = found.operators.get(name)
        for case, did in there.cases.items():
            outcome = _judge(case, did, there, here, rows[name])
            mine[outcome] += 1
            for key in (_layout(case), _dtype(case), _direction(case)):
                families[key][outcome] += 1
        total += mine
        if mine["hit"] + mine["quiet"] + mine["missed"] + mine["invented"] + mine["crashed"]:
            compared_operators += 1
            agreeing += not (mine["missed"] or mine["invented"] or mine["crashed"])
            waiting += bool(mine["hit"] or mine["missed"])
            named += bool(mine["hit"] or mine["invented"])
            waiting_right += bool(mine["hit"])
    for name, lines in sorted(rows.items()):
        for line in lines:
            typer.echo(f"{name}: {line}")
    typer.echo(f"\n{expected.device} torch {expected.torch} against {found.device} torch {found.torch}")
    typer.echo("| | cases | agreement | recall | precision | crashed | not compared |\n|---|---|---|---|---|---|---|")
    for key in sorted(families):
        typer.echo(_row(key, families[key]))
    typer.echo(_row("all", total))
    typer.echo(
        f"\noperators: {agreeing} of {compared_operators} agree in every case; of {waiting} that wait somewhere "
        f"{waiting_right} do here; {named} wait here. The same counts and copies: {total['same']} cases."
    )
    left = {reason: total[reason] for reason in ("cost", "shapes", "absent")}
    typer.echo(
        f"not compared: {left['cost']} for their cost, {left['shapes']} with other samples, {left['absent']} not run"
    )
    raise typer.Exit(1 if total["missed"] or total["invented"] or total["crashed"] else 0)


def _judge(case: str, did: Did, there: Operator, here: Operator | None, rows: list[str]) -> str:
    group = case.rpartition("|")[0]
    if here is None:
        return "absent"
    if case in here.stopped:
        return "cost"
    if case in here.failed:
        rows.append(f"CRASHED {case}: {here.failed[case]}")
        return "crashed"
    if case not in here.cases:
        return "absent"
    if there.signatures.get(group) != here.signatures.get(group):
        return "shapes"
    mine = here.cases[case]
    if bool(did.waits) == bool(mine.waits):
        return "hit" if did.waits else "quiet"
    mark = "MISSED" if did.waits else "INVENTED"
    rows.append(f"{mark} {case}: {did.waits} {did.copies} there, {mine.waits} {mine.copies} here")
    return mark.lower()


def _layout(case: str) -> str:
    parts = case.split("|")
    return "layout " + (parts[3] if len(parts) > 3 else "hand")


def _dtype(case: str) -> str:
    parts = case.split("|")
    return "type " + (parts[2] if len(parts) > 3 else "hand")


def _direction(case: str) -> str:
    return "backward" if "|backward|" in case else "forward"


def _row(name: str, counts: Counter[str]) -> str:
    hits, quiet, missed, invented = (counts[each] for each in ("hit", "quiet", "missed", "invented"))
    cases = hits + quiet + missed + invented
    shares = (_share(hits + quiet, cases), _share(hits, hits + missed), _share(hits, hits + invented))
    left_out = counts["cost"] + counts["shapes"] + counts["absent"]
    return f"| {name} | {cases} | {' | '.join(shares)} | {counts['crashed']} | {left_out} |"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.2%}" if whole else ""


if __name__ == "__main__":
    app()
