"""Measures how long a watched program takes to end: after many operators, and with a worker process of its own.

    python benchmarks/watch_end.py OUT.json

The program with a worker is run as it is and under `syncwatch run`, in turn; what counts is the time from its last
line of code, which prints the time, to the end of the process.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import msgspec
import torch
import typer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import syncwatch  # noqa: E402

_OPERATORS = 60_000
_ROUNDS = 3
_PROGRAM = """
import multiprocessing, time

def worker(tasks, results):
    import torch
    x = torch.ones(512, 512, device="cuda")
    while tasks.get() is not None:
        results.put((x @ x).sum().item())

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    tasks, results = context.Queue(), context.Queue()
    process = context.Process(target=worker, args=(tasks, results), daemon=True)
    process.start()
    for number in range(20):
        tasks.put(number)
        results.get()
    import torch
    torch.ones(3, device="cuda").sum().item()
    print("LAST", time.time(), flush=True)
"""


class Results(msgspec.Struct, frozen=True):
    """What the file of results holds; times are in seconds."""

    gpu: str
    date: str
    torch: str
    operators: int
    end_of_watch_s: list[float]
    plain_end_s: list[float]
    watched_end_s: list[float]


def main(output: Path) -> None:
    """Measure, print and write."""
    ends = [_end_of_watch() for _ in range(3)]
    plain: list[float] = []
    watched: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "program.py"
        program.write_text(_PROGRAM)
        for number in range(_ROUNDS):
            ways = [([], plain), (["-m", "syncwatch", "run", "--device", "cuda"], watched)]
            for words, into in ways if number % 2 == 0 else ways[::-1]:
                into.append(_end_of([sys.executable, *words, str(program)]))
    name, day = torch.cuda.get_device_name(), date.today().isoformat()
    results = Results(name, day, str(torch.__version__), _OPERATORS, ends, plain, watched)
    output.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")
    print(f"end of a watch over {_OPERATORS:,} operators: {statistics.median(ends):.2f} s of {ends}")
    for what, found in (("plain", plain), ("watched", watched)):
        print(f"end of a program with a worker, {what}: {statistics.median(found):.2f} s of {found}")


def _end_of_watch() -> float:
    x = torch.ones(64, device="cuda")
    watch = syncwatch.watch(device="cuda")
    with watch:
        for number in range(_OPERATORS):
            x = x + 1
            if number % 1000 == 0:
                x[0].item()
        ended = time.perf_counter()
    return time.perf_counter() - ended


def _end_of(command: list[str]) -> float:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    now = time.time()
    last = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("LAST")]
    if not last:
        raise SystemExit(f"{command} did not come to its last line: {done.stderr[-2000:]}")
    return now - float(last[0])


if __name__ == "__main__":
    typer.run(main)
