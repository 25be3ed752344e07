"""Real traces of torch.profiler are read; what is found equals direct queries of the JSON.

`torch_profiler_cpu.json.gz`: torch 2.13 on a machine without a GPU, two steps of forward, backward and `.item()`, with
stacks. `idioms_h200.json.gz` is from an H200 (torch 2.11), without stacks, of two steps of waiting idioms.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile, record_function

from syncwatch.errors import NotMeasuredError, UsageError
from syncwatch.model.events import Direction, HostMemory, SyncKind
from syncwatch.model.session import RecordedBy, Recording
from syncwatch.traces.kineto.load import collected, load, processes_in
from syncwatch.traces.kineto.read_file import Trace
from syncwatch.traces.process import TraceProcess

CPU = Path(__file__).parents[1] / "data" / "torch_profiler_cpu.json.gz"
H200 = CPU.with_name("idioms_h200.json.gz")
Rows = list[dict[str, Any]]


def rows_of(path: Path) -> tuple[Rows, int]:
    # A float would be off by a nanosecond: the clock of torch 2.13 is at 4 * 10**12 us.
    document = json.loads(gzip.decompress(path.read_bytes()), parse_float=Decimal)
    return document["traceEvents"], document["baseTimeNanoseconds"]


def process_of(path: Path, step_range: str | None = None) -> TraceProcess:
    trace = Trace(path)
    (process,) = processes_in(trace, collected(trace), step_range)
    return process


def named(rows: Rows, category: str) -> Rows:
    return [row for row in rows if row.get("cat") == category]


def enclosing(rows: Rows, moment: Decimal) -> Rows:
    """Return the rows around a moment, innermost first."""
    around = [row for row in rows if row["ts"] <= moment < row["ts"] + row["dur"]]
    return sorted(around, key=lambda row: (row["ts"], -row["dur"]), reverse=True)


def test_steps_and_ranges_are_those_of_the_file() -> None:
    rows, base = rows_of(CPU)
    annotations = named(rows, "user_annotation")
    process = process_of(CPU)
    assert sorted(each.name for each in process.ranges) == sorted(row["name"] for row in annotations)
    steps = sorted((row["ts"], row["dur"]) for row in annotations if row["name"].startswith("ProfilerStep#"))
    assert len(steps) == 2
    assert [(each.start_ns, each.end_ns) for each in process.steps] == [
        (base + round(start * 1000), base + round(start * 1000) + round(length * 1000)) for start, length in steps
    ]


def test_the_stack_at_every_item_is_that_of_the_rows_around_it() -> None:
    rows, base = rows_of(CPU)
    process = process_of(CPU)
    items = [row for row in named(rows, "cpu_op") if row["name"] == "aten::item"]
    assert len(items) == 2
    for row in items:
        moment = base + round(row["ts"] * 1000)
        frames = process.surroundings.frames_at(0, moment)
        functions = [each["name"] for each in enclosing(named(rows, "python_function"), row["ts"])]
        assert [each.function for each in frames] == [
            name.partition("): ")[2] for name in functions if not name.startswith(("<", "nn.Module"))
        ]
        assert (frames[0].file, frames[0].line, frames[0].function) == ("train.py", 15, "read")


def test_the_innermost_operator_is_that_of_the_rows_around_it() -> None:
    rows, base = rows_of(CPU)
    process = process_of(CPU)
    operators = named(rows, "cpu_op")
    for row in operators:
        moment = row["ts"] + row["dur"] / 2
        innermost = enclosing([each for each in operators if each["tid"] == row["tid"]], moment)[0]
        found = process.surroundings.operator_at(0, base + round(moment * 1000))
        assert found is not None
        assert found.name == innermost["name"].replace("::", ".")


def test_a_trace_without_cuda_is_no_measurement() -> None:
    with pytest.raises(NotMeasuredError, match=r"nothing of CUDA.*ProfilerActivity\.CUDA"):
        load(CPU)


def test_a_step_range_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(UsageError, match="'layer 0'"):
        process_of(CPU, "layer O")
    assert len(process_of(CPU, "layer ?").steps) == 2


def test_a_trace_that_is_recorded_now_is_read(tmp_path: Path) -> None:
    with profile(activities=[ProfilerActivity.CPU], with_stack=True) as profiler, record_function('say "hi" \\ é'):
        torch.ones(2).sum().item()
    path = tmp_path / "now.json.gz"
    profiler.export_chrome_trace(str(path))
    process = process_of(path)
    rows, _ = rows_of(path)
    assert [each.name for each in process.ranges] == [row["name"] for row in named(rows, "user_annotation")]
    assert not process.records_calls


def test_the_trace_of_an_h200_has_the_calls_kernels_and_copies_of_the_file() -> None:
    rows, _ = rows_of(H200)
    session = load(H200)
    (recording,) = session.recordings
    calls = sorted(named(rows, "cuda_runtime") + named(rows, "cuda_driver"), key=lambda row: row["ts"])
    # torch.profiler itself waits when it stops.
    assert calls.pop()["name"] == "cudaDeviceSynchronize"
    asked = {row["args"]["correlation"] for row in calls}
    waits = [each for each in recording.syncs if each.kind not in (SyncKind.COPY, SyncKind.ALLOCATION)]
    assert len(waits) == sum(row["name"].endswith("Synchronize") for row in calls) == 72
    copies = [row for row in named(rows, "gpu_memcpy") if row["args"]["correlation"] in asked]
    assert recording.copies is not None
    assert sorted(each.bytes for each in recording.copies) == sorted(row["args"]["bytes"] for row in copies)
    kernels = [row for row in named(rows, "kernel") if row["args"]["correlation"] in asked]
    memsets = [row for row in named(rows, "gpu_memset") if row["args"]["correlation"] in asked]
    assert recording.kernels is not None
    assert sorted(each.name for each in recording.kernels) == sorted(row["name"] for row in kernels + memsets)
    assert sum(each.memset_bytes or 0 for each in recording.kernels) == sum(row["args"]["bytes"] for row in memsets)
    assert session.recorder is RecordedBy.TORCH_PROFILER


@pytest.fixture(scope="module")
def h200() -> Recording:
    (recording,) = load(H200).recordings
    return recording


def test_waits_last_as_long_as_their_calls(h200: Recording) -> None:
    rows, _ = rows_of(H200)
    lasted = [row["dur"] for row in named(rows, "cuda_runtime") if row["name"] == "cudaEventSynchronize"]
    waits = [each for each in h200.syncs if each.kind is SyncKind.EVENT]
    assert lasted
    assert [(each.end_ns or 0) - (each.start_ns or 0) for each in waits] == [round(each * 1000) for each in lasted]


def test_the_backward_pass_waits_on_a_thread_of_its_own(h200: Recording) -> None:
    threads = Counter(each.thread for each in h200.syncs if each.kind is not SyncKind.ALLOCATION)
    assert sorted(threads.values()) == [2, 72]


def test_a_pageable_read_back_blocks_also_when_asked_not_to(h200: Recording) -> None:
    reads = [copy for copy in h200.copies or () if copy.direction is Direction.D2H]
    pageable = [copy for copy in reads if copy.memory is HostMemory.PAGEABLE]
    assert len(pageable) == 8 and all(copy.blocking for copy in pageable)
    assert sum(each.kind is SyncKind.COPY for each in h200.syncs) == 2


def test_a_small_pageable_upload_does_not_block_when_asked_not_to(h200: Recording) -> None:
    uploads = Counter((copy.memory, copy.blocking) for copy in h200.copies or () if copy.direction is Direction.H2D)
    assert uploads == {(HostMemory.PAGEABLE, True): 8, (HostMemory.PAGEABLE, False): 2, (HostMemory.PINNED, False): 2}


RECORDED = sorted((Path(__file__).parents[1] / "data").glob("torch_profiler_cuda_*.json.gz"))
"""From a CUDA GPU, with and without stacks and rows of synchronizations."""


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.name.partition(".")[0])
def test_a_trace_of_a_gpu_has_the_waits_kernels_and_copies_of_the_file(path: Path) -> None:
    rows, _ = rows_of(path)
    (recording,) = load(path).recordings
    steps = [row for row in named(rows, "user_annotation") if row["name"].startswith("ProfilerStep#")]
    calls = named(rows, "cuda_runtime") + named(rows, "cuda_driver")
    last = max(calls, key=lambda row: row["ts"])
    own = last["name"] == "cudaDeviceSynchronize" and not enclosing(steps, last["ts"])
    waits = [each for each in recording.syncs if each.kind not in (SyncKind.COPY, SyncKind.ALLOCATION)]
    assert len(waits) == sum(row["name"].endswith("Synchronize") for row in calls) - own
    assert [each.name for each in recording.ranges if each.name.startswith("ProfilerStep#")] == [
        row["name"] for row in sorted(steps, key=lambda row: row["ts"])
    ]
    assert len(recording.steps) == len(steps) == 2
    assert sorted(each.bytes for each in recording.copies or ()) == sorted(
        row["args"]["bytes"] for row in named(rows, "gpu_memcpy")
    )
    work = named(rows, "kernel") + named(rows, "gpu_memset")
    assert sorted(each.name for each in recording.kernels or ()) == sorted(row["name"] for row in work)
    assert {each.stream for each in recording.kernels or ()} == {row["args"]["stream"] for row in work}
    functions = {recording.frames[index].function for stack in recording.stacks for index in stack}
    assert ({"mask", "read", "step"} <= functions) == bool(named(rows, "python_function"))
