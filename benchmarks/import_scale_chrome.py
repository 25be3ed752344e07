"""Measures the time and the memory that reading a large trace of torch.profiler takes, with stacks and without.

    python benchmarks/import_scale_chrome.py [--megabytes 50,100,200,400]

The files are laid out as kineto lays them out, with rows in the proportions of a small transformer's step. Each is read
in a process of its own; the limits are 60 s and memory of the size of the file; exit code 1 where one is not kept.
"""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

LIMIT_S = 60.0
LIMIT_SHARE = 1.0
"""The memory that reading may add to the program's own, as a share of the file's size."""
LAYERS = 24
KERNELS = 12
"""How many kernels each layer launches."""
_READ = """
import json, resource, sys, time
from pathlib import Path
from syncwatch.traces.kineto.load import load
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
began, started = time.perf_counter(), time.process_time()
(recording,) = load(Path(sys.argv[1])).recordings
seconds = time.perf_counter() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
counts = {"kernels": len(recording.kernels), "copies": len(recording.copies), "syncs": len(recording.syncs)}
counts |= {"steps": len(recording.steps), "distinct_stacks": len(recording.stacks)}
times = {"seconds": round(seconds, 2), "cpu_seconds": round(time.process_time() - started, 2)}
print(json.dumps(times | {"program_mb": before / 1024, "peak_mb": peak / 1024} | counts))
"""


def main(
    megabytes: Annotated[str, typer.Option(help="Sizes of the files.")] = "50,100,200,400",
    rounds: Annotated[int, typer.Option(help="Readings of each file; the fastest counts.")] = 3,
) -> None:
    """Print the figures as JSON, and fail where a limit is not kept."""
    figures = []
    with tempfile.TemporaryDirectory() as name:
        for size in (int(each) for each in megabytes.split(",")):
            for stacks in (False, True):
                path = Path(name) / "trace.json"
                rows = _write(path, size * 1_000_000, stacks=stacks)
                figures.append(_figures(path, rows, rounds, stacks=stacks))
                packed = _packed(path)
                figures.append(_figures(packed, rows, 1, stacks=stacks) | {"unpacked_mb": path.stat().st_size / 1e6})
    typer.echo(json.dumps(figures, indent=1))
    kept = all(
        each["seconds"] < LIMIT_S and each["peak_mb"] - each["program_mb"] < LIMIT_SHARE * each["file_mb"]
        for each in figures
        if "unpacked_mb" not in each
    )
    raise typer.Exit(0 if kept else 1)


def _figures(path: Path, rows: int, rounds: int, *, stacks: bool) -> dict[str, Any]:
    read = [json.loads(subprocess.check_output([sys.executable, "-c", _READ, str(path)])) for _ in range(rounds)]
    fastest: dict[str, Any] = min(read, key=lambda each: float(each["seconds"]))
    return {"file_mb": path.stat().st_size / 1e6, "rows": rows, "stacks": stacks} | fastest


def _packed(path: Path) -> Path:
    packed = path.with_suffix(".json.gz")
    with path.open("rb") as plain, gzip.open(packed, "wb", 1) as file:
        shutil.copyfileobj(plain, file)
    return packed


def _write(path: Path, size: int, *, stacks: bool) -> int:
    """Write steps until the file has `size` bytes; return the number of its rows."""
    rows = 0
    with path.open("w", encoding="utf-8") as file:
        file.write('{\n  "schemaVersion": 1,\n  "deviceProperties": [{"id": 0, "name": "NVIDIA H200"}],\n')
        file.write('  "displayTimeUnit": "ms",\n  "baseTimeNanoseconds": 1790857026000000000,\n  "traceEvents": [')
        separator = "\n"
        step = 0
        while file.tell() < size:
            for row in _step(step, stacks=stacks):
                file.write(separator + row)
                separator = ",\n"
                rows += 1
            step += 1
        file.write('\n  ],\n  "traceName": "trace.json"\n}\n')
    return rows


def _step(number: int, *, stacks: bool) -> Iterator[str]:
    begin, length = 1_000_000.0 + number * 10_000.0, 9_900.0
    yield _slice("user_annotation", f"ProfilerStep#{number}", begin, length, {"External id": number})
    correlation = number * (LAYERS * (KERNELS + 2) + 1)
    for layer in range(LAYERS):
        at = begin + 5 + layer * 400.0
        if stacks:
            for depth, name in enumerate(("model.py(88): forward", "torch/nn/modules/module.py(1780): _call_impl")):
                yield _slice("python_function", name, at + depth, 390.0 - 2 * depth, {"Python id": depth})
            yield _slice("python_function", f"nn.Module: Block_{layer}", at + 3, 380.0, {"Python id": 3})
        for kernel in range(KERNELS):
            correlation += 1
            yield from _launch(at + 10 + kernel * 25.0, correlation, kernel, stacks=stacks)
        correlation += 2
        yield from _item(at + 330, correlation, stacks=stacks)


def _launch(at: float, correlation: int, kernel: int, *, stacks: bool) -> Iterator[str]:
    if stacks:
        yield _slice("python_function", f"app/blocks.py({30 + kernel}): project", at, 22.0, {"Python id": 7})
        name = "<built-in method linear of type object at 0x7f269f0cea40>"
        yield _slice("python_function", name, at + 1, 20.0, {"Python id": 8})
    shapes = {"Input Dims": [[8192, 2048], [2048, 2048], []], "Input type": ["c10::BFloat16", "c10::BFloat16", ""]}
    yield _slice("cpu_op", "aten::linear", at + 2, 18.0, {"External id": correlation} | shapes)
    yield _slice("cpu_op", "aten::addmm", at + 3, 16.0, {"External id": correlation} | shapes)
    call = {"External id": correlation, "cbid": 211, "correlation": correlation}
    yield _slice("cuda_runtime", "cudaLaunchKernel", at + 4, 6.0, call)
    yield _flow("s", correlation, at + 4, 4242, 4242)
    template = "void cutlass::Kernel2<cutlass_80_tensorop_bf16_s16816gemm_relu_bf16_256x128_32x3_tn_align8>"
    about: dict[str, Any] = {
        "queued": 0,
        "context": 1,
        "registers per thread": 238,
        "shared memory": 73728,
        "blocks per SM": 3.87,
    }
    about |= {"grid": [16, 32, 1], "block": [256, 1, 1], "est. achieved occupancy %": 25}
    yield _slice("kernel", f"{template}(cutlass_80::Params) [{kernel}]", at + 15, 9.0, _gpu(correlation) | about, 0, 7)
    yield _flow("f", correlation, at + 15, 0, 7)


def _item(at: float, correlation: int, *, stacks: bool) -> Iterator[str]:
    if stacks:
        yield _slice("python_function", "app/metadata.py(12): lengths", at, 45.0, {"Python id": 9})
    yield _slice("cpu_op", "aten::item", at + 1, 43.0, {"External id": correlation})
    yield _slice("cpu_op", "aten::_local_scalar_dense", at + 2, 41.0, {"External id": correlation})
    yield _slice("cuda_runtime", "cudaMemcpyAsync", at + 3, 5.0, {"cbid": 41, "correlation": correlation - 1})
    yield _slice("cuda_runtime", "cudaStreamSynchronize", at + 9, 30.0, {"cbid": 131, "correlation": correlation})
    copied = _gpu(correlation - 1) | {"bytes": 4, "memory bandwidth (GB/s)": 0.003}
    yield _slice("gpu_memcpy", "Memcpy DtoH (Device -> Pageable)", at + 20, 1.0, copied, 0, 7)


def _gpu(correlation: int) -> dict[str, Any]:
    return {"External id": correlation, "device": 0, "stream": 7, "correlation": correlation}


def _slice(
    category: str, name: str, at: float, length: float, about: dict[str, Any], pid: int = 4242, tid: int = 4242
) -> str:
    arguments = json.dumps(about)[1:-1]
    return (
        f'  {{\n    "ph": "X", "cat": "{category}", "name": "{name}", "pid": {pid}, "tid": {tid},\n'
        f'    "ts": {at:.3f}, "dur": {length:.3f},\n    "args": {{\n      {arguments}\n    }}\n  }}'
    )


def _flow(phase: str, correlation: int, at: float, pid: int, tid: int) -> str:
    return (
        f'  {{\n    "ph": "{phase}", "id": {correlation}, "pid": {pid}, "tid": {tid}, "ts": {at:.3f},\n'
        f'    "cat": "ac2g", "name": "ac2g"\n  }}'
    )


if __name__ == "__main__":
    typer.run(main)
