"""Measures how well the virtual device does on one version of torch: a row of the table in docs/virtual-device.md.

    python benchmarks/torch_versions.py                 measures the torch of this Python, and keeps the row
    python benchmarks/torch_versions.py --quick         as CI does: no operators, no programs, nothing kept

`make test-torch TORCH=2.15.0` makes an environment and runs this there; `make figures` writes the table. A row is
compared with what an H200 did with torch 2.11, and with what the sources of the newer torch say (`torch_changes.py`).
"""

from __future__ import annotations

import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import torch_changes  # noqa: E402
from benchmarks.real_programs import Results as Programs  # noqa: E402
from benchmarks.sync_ops import Table as Idioms  # noqa: E402
from benchmarks.torch_rows import HEADING, Agreement, Row, line  # noqa: E402
from benchmarks.virtual_ops import Differences as Operators  # noqa: E402
from syncwatch.compat.tried import installed  # noqa: E402
from syncwatch.model.session import Session  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
SCENARIOS = ("gdn-prefill", "spec-decode", "seq-lens")
"""The scenarios that launch kernels; `kernel-warmup` only compiles them, which does not depend on torch."""


def main(
    quick: Annotated[bool, typer.Option(help="Scenarios and idioms alone; keep nothing.")] = False,
    results: Annotated[Path, typer.Option(help="The folder to keep the row in.")] = RESULTS / "torch",
) -> None:
    """Measure this torch and print its row; exit 1 where something crashed or differs without a reason."""
    with tempfile.TemporaryDirectory() as folder:
        row = _measured(Path(folder), quick)
    typer.echo(f"{HEADING}\n{line(row)}")
    for kind, found in (("idiom", row.idioms), ("operator", row.operators), ("line", row.programs)):
        for name in () if found is None else found.wrong:
            typer.echo(f"{kind} that differs: {name}")
    for name in row.crashes:
        typer.echo(f"could not run: {name}")
    if not quick:
        results.mkdir(parents=True, exist_ok=True)
        path = results / f"{row.torch.partition('+')[0]}-{'cpu' if row.cuda is None else 'cuda'}.json"
        path.write_bytes(msgspec.json.format(msgspec.json.encode(row), indent=1) + b"\n")
    raise typer.Exit(0 if all(row.scenarios.values()) and not row.crashes else 1)


def _measured(folder: Path, quick: bool) -> Row:
    import torch

    here = str(torch.__version__)
    scenarios = {name: _scenario(name, folder) for name in SCENARIOS}
    idioms = _script("sync_ops.py", folder, Idioms, "run", "--device", "virtual")
    crashes = list(idioms.failed)
    operators = programs = f1 = None
    if not quick:
        differences = _script("virtual_ops.py", folder, Operators)
        operators = _operators(differences, here)
        ran = _script("real_programs.py", folder, Programs, "run", "--device", "virtual")
        programs, f1 = _programs(ran, here)
        crashes += [*differences.failed, *ran.failed]
    return Row(
        torch=here,
        triton=installed("triton"),
        python=platform.python_version(),
        cuda=torch.version.cuda,
        transformers=installed("transformers"),
        scenarios=scenarios,
        idioms=_idioms(idioms, here),
        operators=operators,
        programs=programs,
        f1=f1,
        crashes=tuple(crashes),
    )


def _scenario(name: str, folder: Path) -> bool:
    run = folder / f"{name}.json"
    command = [sys.executable, "-m", "syncwatch", "run", name, "--device", "virtual", "-o", str(run)]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, cwd=ROOT)
    return done.returncode == 0 and Session.load(run).outputs_equal is not False


def _script(script: str, folder: Path, kind: type, *arguments: str) -> Any:
    output = folder / f"{script}.json"
    command = [sys.executable, str(ROOT / "benchmarks" / script), *arguments, "-o", str(output)]
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True, cwd=ROOT)
    return msgspec.json.decode(output.read_bytes(), type=kind)


def _idioms(found: Idioms, torch: str) -> Agreement:
    truth = msgspec.json.decode((RESULTS / "sync_ops.json").read_bytes(), type=Idioms).specimens
    changes = torch_changes.in_force(torch_changes.IDIOMS, torch)
    measured = changed = 0
    wrong = []
    for name, expected in truth.items():
        here = found.specimens.get(name)
        did = None if here is None else (here.syncs, here.copies)
        change = changes.get(name)
        if change is None and did == (expected.syncs, expected.copies):
            measured += 1
        elif change is not None and did == (dict(change.syncs), dict(change.copies)):
            changed += 1
        else:
            wrong.append(name)
    return Agreement(len(truth), measured, changed, tuple(wrong))


def _operators(found: Operators, torch: str) -> Agreement:
    changes = torch_changes.in_force(torch_changes.OPERATORS, torch)
    known = [name for name in found.missed if name.partition("|")[0] in changes]
    wrong = [name for name in (*found.missed, *found.invented) if name not in known]
    return Agreement(found.cases, found.cases - len(known) - len(wrong), len(known), tuple(wrong))


def _programs(found: Programs, torch: str) -> tuple[Agreement, float]:
    truth = msgspec.json.decode((RESULTS / "real_programs.json").read_bytes(), type=Programs)
    changes = torch_changes.in_force(torch_changes.SITES, torch)
    total = measured = changed = extra = 0
    wrong = []
    for name, program in truth.programs.items():
        mine = found.programs[name].sites if name in found.programs else {}
        extra += len(mine.keys() - program.sites.keys())
        wrong += [f"{name}: {site}" for site in sorted(mine.keys() - program.sites.keys())]
        for site, calls in program.sites.items():
            total += 1
            if site in changes and mine.get(site, 0) == sum(changes[site].syncs.values()):
                changed += 1
            elif mine.get(site) == calls:
                measured += 1
            else:
                wrong.append(f"{name}: {site}")
    right = measured + changed
    score = 2 * right / max(2 * right + extra + (total - right), 1)
    return Agreement(total, measured, changed, tuple(wrong)), round(score, 4)


if __name__ == "__main__":
    typer.run(main)
