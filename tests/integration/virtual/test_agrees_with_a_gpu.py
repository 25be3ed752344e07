"""The virtual device agrees with an H200 on idioms, operators and real programs, at least as far as the docs state."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from benchmarks.torch_changes import OPERATORS, in_force
from syncwatch.bench.probing.measured import SHIPPED, ProbedTable
from tests.helpers.command import ROOT, syncwatch


def benchmark(script: str, *arguments: str) -> str:
    command = [sys.executable, f"benchmarks/{script}", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    return done.stdout + done.stderr


def test_idioms(tmp_path: Path) -> None:
    benchmark("sync_ops.py", "run", "--device", "virtual", "-o", str(tmp_path / "here.json"))

    said = benchmark("sync_ops.py", "compare", "tests/data/sync_ops_h200.json", str(tmp_path / "here.json"))

    agree, total = map(int, re.findall(r"(\d+) of (\d+) idioms agree", said)[0])
    assert total >= 200 and agree / total >= 0.99, said


def test_operators(tmp_path: Path) -> None:
    ended = syncwatch("probe", "--device", "virtual", "-o", str(tmp_path / "here.json"))
    assert ended.code == 0, ended.err

    gpu, here = ProbedTable.load(SHIPPED), ProbedTable.load(tmp_path / "here.json")
    cannot = [name for name in here.failed if name in gpu.operators]
    both = [name for name in gpu.operators if gpu.signatures[name] == here.signatures.get(name)]
    # What a newer torch does differently by its own sources is expected here.
    changed = in_force(OPERATORS, here.environment.torch)
    both = [name for name in both if name.partition("|")[0] not in changed]
    found = [(gpu.operators[name].waits, here.operators[name].waits) for name in both]
    hits = found.count((True, True))
    assert len(both) > 5_900 and hits > 380
    assert sum(there == mine for there, mine in found) / len(found) >= 0.995
    assert hits / (hits + found.count((True, False))) >= 0.99, "recall"
    assert hits / (hits + found.count((False, True))) >= 0.99, "precision"
    assert len(cannot) / len(gpu.operators) <= 0.005, cannot


def test_real_programs(tmp_path: Path) -> None:
    benchmark("real_programs.py", "run", "--device", "virtual", "-o", str(tmp_path / "here.json"))

    said = benchmark(
        "real_programs.py", "compare", "benchmarks/results/real_programs.json", str(tmp_path / "here.json")
    )

    (score,) = re.findall(r"F1 over lines with their counts: ([\d.]+)", said)
    assert float(score) >= 0.99, said
    assert "not run on virtual" not in said
