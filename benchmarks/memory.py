"""Measures what watching costs in memory: bytes for each wait recorded, and what a run with its report takes.

    python benchmarks/memory.py

The limits are 300 bytes for a wait with its operator and copy, and 300 MB more for a run of 200,000 of them than for
one of 1,000, with its report and run file; exit code 1 where one is not kept. Each run is a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

LIMIT_BYTES = 300
LIMIT_MB = 300
FEW = 1_000
TARGET = """
import sys
import torch

x = torch.ones(3, device="cuda")
for _ in range(int(sys.argv[1])):
    x.sum().item()
with open("/proc/self/status") as status:
    print(next(line.split()[1] for line in status if line.startswith("VmRSS:")))
"""


def main(waits: Annotated[int, typer.Option(help="Waits of the long run.")] = 200_000) -> None:
    """Print what a short and a long run take, and fail where a limit is not kept."""
    typer.echo("| waits | resident as the program ends, MB | at most, with report and run file, MB |\n|---|---|---|")
    # Without `-o`: checkpoints of the run file are written while the program runs, and their memory stays resident.
    before, after = (_run(count)[0] for count in (FEW, waits))
    least, most = (_run(count, "-o", "run.json")[1] for count in (FEW, waits))
    for count, recorded, peak in ((FEW, before, least), (waits, after, most)):
        typer.echo(f"| {count:,} | {recorded / 1e6:.0f} | {peak / 1e6:.0f} |")
    each = (after - before) / (waits - FEW)
    grown = (most - least) / 1e6
    typer.echo(f"\n{each:.0f} bytes a wait while recording; {grown:.0f} MB more for the long run.")
    raise typer.Exit(0 if each <= LIMIT_BYTES and grown <= LIMIT_MB else 1)


def _run(waits: int, *options: str) -> tuple[int, int]:
    """Return the bytes that are resident when the watched program ends, and the most that ever were."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "loop.py").write_text(TARGET)
        command = [sys.executable, "-m", "syncwatch", "run", "loop.py", "--device", "virtual", *options]
        command += ["--format", "json", "--", str(waits)]
        # The report goes to stdout, and what the program prints to stderr.
        with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
            assert process.stderr is not None
            said = process.stderr.read().decode()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"The run ended with {process.returncode}: {said}")
    # Linux gives both in KiB.
    return int(said.split()[-1]) * 1024, usage.ru_maxrss * 1024


if __name__ == "__main__":
    typer.run(main)
