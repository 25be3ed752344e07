"""Runs a sweep, with the operators dealt to several processes, so that none can end the others.

One that dies is started again behind the case that ended it. Where one size of a group takes too long, or its results
grow too large, the larger ones are left out, and listed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import msgspec

from syncwatch.bench.probing.sweep import Sweep, SweepOperator
from syncwatch.bench.probing.sweep_cases import operator_names
from syncwatch.bench.probing.sweep_part import PartRequest
from syncwatch.errors import NotMeasuredError
from syncwatch.sense.choose_device import DeviceChoice

Progress = Callable[[str, int, int], None]
"""Called with the phase, the operators done and the operators to do."""
_ROUNDS = 60
_PARTS = 8
"""Parts a process at once gets in the first round: small enough to show how far it is."""


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """What is swept, and how."""

    device: DeviceChoice
    only: str = ""
    """Part of the operators' names."""
    full: bool = True
    """Every operator at every size; else those that are known to wait, and what is written by hand."""
    like: Sweep | None = None
    """Try only what this sweep measured."""
    jobs: int = 0
    """Processes at once; 0 is half of the cores."""
    timeout_s: float = 600.0
    """What one process may take."""
    limit_s: float = 1.0
    """What one case may be expected to take."""


def sweep(
    plan: SweepPlan, found: Sweep, progress: Progress, keep: Callable[[Sweep], None] = lambda sweep: None
) -> Sweep:
    """Sweep what `found` does not hold yet into it, and return it.

    Args:
        plan: what, and how.
        found: what is known already.
        progress: told how far it is.
        keep: called with what was found so far, whenever a process ends.

    Raises:
        NotMeasuredError: if torch's operator samples are not installed, or no process could measure anything.
    """
    began = time.monotonic()
    progress("collect operators", 0, 0)
    wanted = _wanted(plan)
    skip: list[str] = []
    jobs = plan.jobs or min(max((os.cpu_count() or 2) // 2, 2), 10)
    for attempt in range(_ROUNDS):
        left = [name for name in wanted if name not in found.operators]
        if not left:
            break
        known = len(found.operators), len(skip)
        done = len(wanted) - len(left)
        progress("sweep operators", done, len(wanted))
        said = _round(plan, found, _dealt(left, jobs * (_PARTS if attempt == 0 else 1)), skip, jobs, keep, progress)
        if (len(found.operators), len(skip)) == known:
            raise NotMeasuredError(f"No operator could be swept: {said or 'every process took too long'}.")
    found.wall_s += round(time.monotonic() - began, 1)
    return found


def _wanted(plan: SweepPlan) -> list[str]:
    every = [name for name in operator_names() if plan.only in name]
    if plan.like is None:
        return every
    known = plan.like.operators
    if plan.full or plan.only:
        return [name for name in every if name in known and known[name].cases]
    return [name for name in every if name in known and _waits(known[name])]


def _waits(operator: SweepOperator) -> bool:
    return operator.name.endswith("|hand") or any(case.waits for case in operator.cases.values())


def _dealt(left: list[str], parts: int) -> list[list[str]]:
    return [left[start::parts] for start in range(min(parts, len(left)))]


def _round(
    plan: SweepPlan,
    found: Sweep,
    parts: list[list[str]],
    skip: list[str],
    jobs: int,
    keep: Callable[[Sweep], None],
    progress: Progress,
) -> str:
    """Run each part in a process of its own; return what the last one said that failed."""
    total = len(found.operators) + sum(map(len, parts))
    said = ""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(jobs) as pool:
        running = {}
        for index, operators in enumerate(parts):
            stem = Path(folder, str(index))
            stem.with_suffix(".in").write_bytes(msgspec.json.encode(_asked(plan, operators, skip)))
            running[pool.submit(_run, stem, plan)] = stem
        for each in as_completed(running):
            stem, why = running[each], each.result()
            lines, at = stem.with_suffix(".lines"), stem.with_suffix(".at")
            for line in lines.read_bytes().splitlines() if lines.exists() else ():
                _take(found, line, skip)
            if why:
                said = why
                if at.exists() and at.read_text():
                    skip.append(at.read_text())
            keep(found)
            progress("sweep operators", len(found.operators), total)
    return said


def _asked(plan: SweepPlan, operators: list[str], skip: list[str]) -> PartRequest:
    only = None
    if plan.like is not None:
        only = {each: list(plan.like.operators[each].cases) for each in operators}
    return PartRequest(operators, skip, only, plan.limit_s, plan.full or bool(plan.only))


def _run(stem: Path, plan: SweepPlan) -> str:
    """Run one part; return why it did not end as it should."""
    command = [sys.executable, "-m", "syncwatch.bench.probing.sweep_part", str(stem), plan.device.value]
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        _, said = process.communicate(timeout=plan.timeout_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return f"not done after {plan.timeout_s:g} s"
    last = said.strip().splitlines()[-1:] or [""]
    return "" if process.returncode == 0 else f"exit {process.returncode}: {last[0]}"


def _take(found: Sweep, line: bytes, skip: list[str]) -> None:
    if line.startswith(b'{"device"'):
        about = msgspec.json.decode(line)
        found.device, found.gpu, found.torch = about["device"], about["gpu"], about["torch"]
        return
    operator = msgspec.json.decode(line, type=SweepOperator)
    if operator.broke:
        skip.append(operator.broke)
    else:
        found.operators[operator.name] = operator
