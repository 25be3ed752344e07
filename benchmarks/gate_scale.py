"""Measures the time and the memory that `syncwatch gate run.json` takes on a large run of 100,000 events.

    python benchmarks/gate_scale.py

The limits are 2 s and 300 MB; exit code 1 where one is not kept. Each gate is a process of its own, started afresh, so
that the time holds the start of Python too; the best of some rounds is taken, as the machine may be doing other things.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from syncwatch.model.events import Call, CopyEvent, Direction, Frame, HostMemory, KernelEvent, Step, SyncEvent, SyncKind
from syncwatch.model.session import Coverage, DeviceKind, Environment, Recording, Session

LIMIT_S = 2.0
LIMIT_MB = 300
STEPS = 1000
LINES = 200
DEPTH = 8
"""Frames in the stack of each wait."""


def main(events: Annotated[int, typer.Option(help="Events of each session.")] = 100_000, rounds: int = 5) -> None:
    """Print the time and the memory of each session, and fail where a limit is not kept."""
    shapes = {"waits alone": (1, 0, 0), "waits, copies and kernels": (1, 1, 3)}
    kept = True
    typer.echo("| session | file MB | seconds | MB | exit |\n|---|---|---|---|---|")
    for name, shape in shapes.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "run.json"
            _session(events, shape).save(path)
            measured = [_gate(path) for _ in range(rounds)]
            seconds, megabytes = min(each[0] for each in measured), max(each[1] for each in measured)
            kept = kept and seconds < LIMIT_S and megabytes < LIMIT_MB
            size = path.stat().st_size / 1e6
            typer.echo(f"| {name} | {size:.1f} | {seconds:.2f} | {megabytes:.0f} | {measured[0][2]} |")
    raise typer.Exit(0 if kept else 1)


def _session(events: int, shape: tuple[int, int, int]) -> Session:
    """Return a session of `events` events, divided among waits, copies and kernels in the proportions of `shape`."""
    counts = [events * share // sum(shape) for share in shape]
    frames = [
        Frame(f"app/layer{line}.py", 10 + depth, f"call{depth}", "return self.inner(x)" if depth else "x.item()", None)
        for line in range(LINES)
        for depth in range(DEPTH)
    ]
    each_ns = 1_000_000
    syncs = [
        SyncEvent(
            step=index * STEPS // counts[0],
            thread=0,
            kind=SyncKind.STREAM,
            explicit=False,
            op="aten._local_scalar_dense",
            stack=index % LINES,
            stream=7,
            start_ns=(start := index * STEPS * each_ns // counts[0]),
            end_ns=start + 5_000,
            pacing=False,
            seen_by=("debug_mode", "cupti"),
        )
        for index in range(counts[0])
    ]
    copies = [
        CopyEvent(
            step=index * STEPS // counts[1],
            thread=0,
            direction=Direction.D2H,
            memory=HostMemory.PAGEABLE,
            bytes=8,
            blocking=True,
            op=None,
            stack=index % LINES,
            stream=7,
            start_ns=(start := index * STEPS * each_ns // counts[1]),
            end_ns=start + 2_000,
            call=Call(0, "cudaMemcpyAsync", start - 4_000, start + 3_000),
        )
        for index in range(counts[1])
    ]
    kernels = [
        KernelEvent(
            step=index * STEPS // counts[2],
            stream=7,
            name="gemm",
            start_ns=(start := index * STEPS * each_ns // counts[2]),
            end_ns=start + 9_000,
            call=Call(0, "cudaLaunchKernel", start - 4_000, start - 1_000),
        )
        for index in range(counts[2])
    ]
    recording = Recording(
        variant="watched",
        steps=tuple(Step(index, False, index * each_ns, (index + 1) * each_ns) for index in range(STEPS)),
        rounds_ns=(),
        modelled=False,
        threads=("MainThread",),
        frames=tuple(frames),
        stacks=tuple(tuple(range(line * DEPTH, (line + 1) * DEPTH)) for line in range(LINES)),
        syncs=tuple(syncs),
        copies=tuple(copies),
        kernels=tuple(kernels),
        ranges=(),
        coverage=Coverage(("debug_mode", "cupti"), (), counts[0], counts[0]),
    )
    environment = Environment("2.13.0", "3.6.0", "NVIDIA H200", "580.65", "3.11.7", "0.1.0")
    return Session("train.py", DeviceKind.CUDA, environment, (recording,), None, complete=True)


def _gate(path: Path) -> tuple[float, float, int]:
    """Return the seconds, the largest resident memory in MB and the exit code of one gate."""
    began = time.perf_counter()
    silent = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_WRONLY, 0) for number in (1, 2)]
    arguments = [sys.executable, "-m", "syncwatch", "gate", str(path)]
    process = os.posix_spawn(sys.executable, arguments, os.environ, file_actions=silent)
    _, status, usage = os.wait4(process, 0)
    # Linux gives ru_maxrss in KiB.
    return time.perf_counter() - began, usage.ru_maxrss / 1024, os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    typer.run(main)
