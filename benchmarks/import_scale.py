"""Measures the time and the peak memory that opening a large trace of nsys takes, at growing sizes.

    python benchmarks/import_scale.py                  1,000,000 to 5,000,000 rows, as JSON
    python benchmarks/import_scale.py 1000000

The limits are 10 s and 1 GB for 1,000,000 rows, in proportion above; exit code 1 where one is not kept. The files have
the tables of a real export, filled with the steps of a model: kernels, their launches, a blocking read a layer, ranges.
Each import is a process of its own. The best time of some rounds counts, as the machine may be doing other things.
"""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

LIMIT_S = 10.0
LIMIT_MB = 1000
MILLION = 1_000_000
SIZES = [MILLION, 2 * MILLION, 5 * MILLION]
KERNELS = 8
ROWS_A_LAYER = 2 * KERNELS + 8
"""Kernels and their launches, two calls that record events, a copy with its call, a wait with its call, two ranges."""
LAYER_NS = 200_000
LAYERS_A_STEP = 24
_SCHEMA = Path(__file__).parents[1] / "tests" / "data" / "h200_nsys_2024.2.3.sqlite"
_PID = 1 << 48 | 4242 << 24
_TID = _PID | 4242
_NAMES = ("cudaLaunchKernel_v7000", "cudaEventRecord_v3020", "cudaMemcpyAsync_v3020", "cudaStreamSynchronize_v3020")
_LAUNCH, _EVENT, _COPY, _SYNC, _LAYER, _STEP, _FIRST_KERNEL = range(1, 8)
_IMPORT = """
import json, resource, sys, time
from pathlib import Path
from syncwatch.traces.opening import open_session
begin, cpu = time.perf_counter(), time.process_time()
session = open_session(Path(sys.argv[1]))
seconds, cpu_seconds = time.perf_counter() - begin, time.process_time() - cpu
recording, = session.recordings
print(json.dumps({
    "seconds": round(seconds, 2),
    "cpu_seconds": round(cpu_seconds, 2),
    "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3),
    "kernels": len(recording.kernels), "copies": len(recording.copies), "waits": len(recording.syncs),
    "ranges": len(recording.ranges), "steps": len(recording.steps),
}))
"""

Row = tuple[Any, ...]


def main(
    sizes: Annotated[Optional[list[int]], typer.Argument(help="Rows of each file.")] = None,  # noqa: UP045
    rounds: int = 3,
) -> None:
    """Print what each import took, and fail where a limit is not kept."""
    kept = True
    results = []
    for size in sizes or SIZES:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "large.sqlite"
            rows = write(path, size)
            found = min((_imported(path) for _ in range(rounds)), key=lambda each: float(each["seconds"]))
            results.append({"rows": rows, "file_mb": round(path.stat().st_size / 1e6), **found})
            scale = rows / MILLION
            kept = kept and found["seconds"] < LIMIT_S * scale and found["peak_mb"] < LIMIT_MB * max(scale, 1)
    typer.echo(json.dumps(results, indent=1))
    raise typer.Exit(0 if kept else 1)


def _imported(path: Path) -> dict[str, Any]:
    ended = subprocess.run([sys.executable, "-c", _IMPORT, str(path)], check=True, capture_output=True, text=True)
    return dict(json.loads(ended.stdout))


def write(path: Path, size: int) -> int:
    """Write an export of about `size` rows to `path`, not sorted by time, and return the number of rows."""
    layers = max(1, size // ROWS_A_LAYER)
    names = [*_NAMES, "layer", "syncwatch.step 0", *(f"void kernel_{each}<float>(float*)" for each in range(KERNELS))]
    with sqlite3.connect(_SCHEMA) as real:
        tables = [statement for (statement,) in real.execute("SELECT sql FROM sqlite_master WHERE type = 'table'")]
    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode = OFF")
    for statement in tables:
        database.execute(statement)
    _insert(database, "StringIds", "id value", enumerate(names, 1))
    _insert(database, "TARGET_INFO_GPU", "vmId id name cuDevice", [(1, 0, "NVIDIA H200", 0)])
    prefix = "CUPTI_ACTIVITY_KIND_"
    calls = "start end nameId eventClass globalTid correlationId returnValue"
    _insert(database, f"{prefix}RUNTIME", calls, _calls(layers))
    named = "demangledName shortName registersPerThread gridX gridY gridZ blockX blockY blockZ staticSharedMemory "
    named += "dynamicSharedMemory localMemoryPerThread localMemoryTotal gridId"
    work = "start end deviceId contextId streamId correlationId globalPid"
    _insert(database, f"{prefix}KERNEL", f"{work} {named}", _kernels(layers))
    _insert(database, f"{prefix}MEMCPY", f"{work} bytes copyKind srcKind dstKind", _copies(layers))
    _insert(database, f"{prefix}SYNCHRONIZATION", f"{work} syncType eventId", _syncs(layers))
    _insert(database, "NVTX_EVENTS", "start end eventType globalTid textId text domainId", _ranges(layers))
    counted = ("RUNTIME", "KERNEL", "MEMCPY", "SYNCHRONIZATION")
    tables = [*(f"{prefix}{name}" for name in counted), "NVTX_EVENTS"]
    rows = sum(int(database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]) for table in tables)
    database.commit()
    database.close()
    return rows


def _insert(database: sqlite3.Connection, table: str, columns: str, rows: Any) -> None:
    names = [f'"{name}"' for name in columns.split()]
    places = ", ".join("?" * len(names))
    database.executemany(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({places})", rows)


def _layers(layers: int) -> Iterator[tuple[int, int]]:
    """Yield start and first correlation id of each layer, shuffled in blocks of 1,000: nsys may write them so."""
    numbers = list(range(layers))
    chance = random.Random(0)
    for block in range(0, layers, 1000):
        part = numbers[block : block + 1000]
        chance.shuffle(part)
        yield from ((1000 + each * LAYER_NS, 1 + each * 16) for each in part)


def _calls(layers: int) -> Iterator[Row]:
    for start, first in _layers(layers):
        for each in range(KERNELS):
            begin = start + each * 6_000
            yield begin, begin + 4_000, _LAUNCH, 0, _TID, first + each, 0
        for each in range(2):
            begin = start + 50_000 + each * 3_000
            yield begin, begin + 1_000, _EVENT, 0, _TID, first + KERNELS + each, 0
        yield start + 60_000, start + 64_000, _COPY, 0, _TID, first + 10, 0
        yield start + 64_500, start + 180_000, _SYNC, 0, _TID, first + 11, 0


def _kernels(layers: int) -> Iterator[Row]:
    for start, first in _layers(layers):
        for each in range(KERNELS):
            begin = start + 10_000 + each * 18_000
            name = _FIRST_KERNEL + each
            yield begin, begin + 17_000, 0, 1, 7, first + each, _PID, name, name, 32, 1, 1, 1, 128, 1, 1, 0, 0, 0, 0, 1


def _copies(layers: int) -> Iterator[Row]:
    for start, first in _layers(layers):
        yield start + 170_000, start + 171_500, 0, 1, 7, first + 10, _PID, 8, 2, 2, 0


def _syncs(layers: int) -> Iterator[Row]:
    for start, first in _layers(layers):
        yield start + 65_000, start + 179_500, 0, 1, 7, first + 11, _PID, 3, 0xFFFFFFFF


def _ranges(layers: int) -> Iterator[Row]:
    for start, _ in _layers(layers):
        yield start, start + 190_000, 59, _TID, _LAYER, None, 0
        index = (start - 1000) // LAYER_NS
        if index % LAYERS_A_STEP == 0:
            step = index // LAYERS_A_STEP
            yield start - 100, start - 100 + LAYERS_A_STEP * LAYER_NS - 200, 59, _TID, None, f"syncwatch.step {step}", 0
        else:
            yield start + 1, start + 60_000, 59, _TID, _LAYER, None, 0


if __name__ == "__main__":
    typer.run(main)
