"""Records the programs with torch.profiler or nsys, and reads the traces as `syncwatch report` does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch

from benchmarks.gain_programs.measure import WARMUP, Built
from benchmarks.gain_programs.registry import marked_by
from syncwatch.model.events import STEP_RANGE
from syncwatch.model.session import Session
from syncwatch.sense.scopes.ranges import annotate, step
from syncwatch.traces.opening import open_session

_ENVIRONMENT = ("PATH", "HOME", "PYTHONPATH", "LD_LIBRARY_PATH", "CUDA_HOME", "CUDA_VISIBLE_DEVICES")
"""What the process under nsys is given: nsys records its environment."""


def profiled(program: Built, count: int, folder: Path) -> Session:
    """Record `count` steps with torch.profiler and read its trace.

    Without stacks, whose price would be another program's; each wait has a range of its own. Once it has run,
    torch.profiler keeps CUPTI for the rest of the process.
    """
    path = folder / f"{program.program.name}.json"
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    for index in range(WARMUP):
        program.step(index, False)
    # Else the ranges of other threads are left out, and no site of theirs is known.
    config = torch._C._profiler._ExperimentalConfig(profile_all_threads=True)
    with torch.profiler.profile(activities=activities, acc_events=True, experimental_config=config) as profiler:
        torch.cuda.synchronize()
        with marked_by(torch.profiler.record_function):
            for index in range(count):
                with torch.profiler.record_function(f"{STEP_RANGE} {index}"):
                    program.step(index, False)
        program.settle()
        torch.cuda.synchronize()
    profiler.export_chrome_trace(str(path))
    session = open_session(path)
    path.unlink()
    return session


def play(program: Built, count: int) -> None:
    """Run `count` steps as NVTX ranges inside one of the program's name, for nsys."""
    for index in range(WARMUP):
        program.step(index, False)
    torch.cuda.synchronize()
    with marked_by(annotate), annotate(program.program.name):
        for index in range(count):
            with step():
                program.step(index, False)
        program.settle()
        torch.cuda.synchronize()


def nsys_export(nsys: str, words: list[str], folder: Path) -> Path:
    """Run this benchmark with `words` under nsys, and return the SQLite export of it.

    Raises:
        RuntimeError: if nsys fails, with the end of what it said.
    """
    report, trace = folder / "gains.nsys-rep", folder / "gains.sqlite"
    options = ["--trace=cuda,nvtx", "--sample=none", "--cpuctxsw=none", "-f", "true", "-o", str(report)]
    script = Path(__file__).parents[1] / "gains.py"
    _run([nsys, "profile", *options, sys.executable, str(script), *words])
    _run([nsys, "export", "--type", "sqlite", "-f", "true", "-q", "true", "-o", str(trace), str(report)])
    return trace


def nsys_session(trace: Path, name: str) -> Session:
    """Return what an export of nsys holds of the program `name`."""
    return open_session(trace, f"{name}/{STEP_RANGE}*")


def _run(command: list[str]) -> None:
    environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise RuntimeError(f"{' '.join(command[:2])} ended with {ended.returncode}:\n{ended.stderr[-3000:]}")
