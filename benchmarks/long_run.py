"""Measures what a long run takes: memory while it is watched, and the time to save, load and report it.

    python benchmarks/long_run.py OUT.json [--launches 2000000] [--reads 100000]

On a GPU, or with `--device virtual` on fewer events without one. The limits are those of the exit code: the process
grows by less than 300 MB, and the run file is reported in under 20 s.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Annotated

import msgspec
import torch
import typer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import syncwatch  # noqa: E402

LIMIT_MB, LIMIT_S = 300, 20.0


class Results(msgspec.Struct, frozen=True):
    """What the file holds."""

    gpu: str
    date: str
    torch: str
    launches: int
    reads: int
    plain_s: float
    """Ten times what a tenth of the program took before, unwatched."""
    watched_s: float
    end_s: float
    """From the end of the program to the end of the watch."""
    grown_mb: float
    """Resident memory at its highest in the watch and its end, over that before."""
    file_mb: float
    save_s: float
    report_s: float
    """`syncwatch report` of the run file, a process of its own."""
    report_exit: int
    joined: int
    left_over: int
    """Calls and records that did not find each other, and records that were lost."""


def main(
    output: Path,
    launches: Annotated[int, typer.Option(help="Kernels to launch.")] = 2_000_000,
    reads: Annotated[int, typer.Option(help="Reads of one element.")] = 100_000,
    device: str = "cuda",
) -> None:
    """Run, print, write, and fail where a limit is not kept."""
    if device == "virtual":
        raise typer.Exit(_measured(output, launches, reads, device))
    torch.cuda.init()
    _program(1000, 100)
    raise typer.Exit(_measured(output, launches, reads, device))


def _measured(output: Path, launches: int, reads: int, device: str) -> int:
    plain = 10 * _timed(launches // 10, reads // 10) if device == "cuda" else 0.0
    before = _memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    watch = syncwatch.watch(device)
    with watch:
        watched = _timed(launches, reads)
        ended = time.perf_counter()
    end = time.perf_counter() - ended
    grown = _memory("VmHWM") - before
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.json"
        begun = time.perf_counter()
        watch.session.save(path)
        saved = time.perf_counter() - begun
        size, begun = path.stat().st_size / 1e6, time.perf_counter()
        told = subprocess.run(
            [sys.executable, "-m", "syncwatch", "report", str(path)], cwd=ROOT, capture_output=True, check=False
        )
        reported = time.perf_counter() - begun
    joins = watch.report.coverage.joins
    results = Results(
        gpu=torch.cuda.get_device_name() if device == "cuda" else "virtual",
        date=date.today().isoformat(),
        torch=str(torch.__version__),
        launches=launches,
        reads=reads,
        plain_s=plain,
        watched_s=watched,
        end_s=end,
        grown_mb=grown,
        file_mb=size,
        save_s=saved,
        report_s=reported,
        report_exit=told.returncode,
        joined=0 if joins is None else joins.joined,
        left_over=0 if joins is None else joins.calls_alone + joins.records_alone + joins.lost,
    )
    output.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")
    typer.echo(output.read_text())
    return 0 if grown < LIMIT_MB and reported < LIMIT_S and told.returncode == 0 else 1


def _timed(launches: int, reads: int) -> float:
    begun = time.perf_counter()
    _program(launches, reads)
    return time.perf_counter() - begun


def _program(launches: int, reads: int) -> None:
    """Launch and read, in steps of a thousand launches."""
    x = torch.ones(16, device="cuda")
    steps = max(1, launches // 1000)
    for index in range(steps):
        with syncwatch.step():
            for _ in range(launches // steps):
                x.add_(1)
            for _ in range(reads * (index + 1) // steps - reads * index // steps):
                x[0].item()


def _memory(field: str) -> float:
    """Return a field of the process's status, in MB."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(f"{field}:")) / 1024


if __name__ == "__main__":
    typer.run(main)
