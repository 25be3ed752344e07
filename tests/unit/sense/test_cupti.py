"""Rows that torch's profiler gets from CUPTI become waits, copies, kernels and steps."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from syncwatch.errors import NotMeasuredError
from syncwatch.model.events import Direction, HostMemory, SyncKind
from syncwatch.sense.cuda.runtime_trace import RuntimeTrace, read_trace

BASE = 1_000_000_000
MAIN, BACKWARD = 100, 200


def row(cat: str, name: str, at: float, long: float, tid: int = MAIN, **args: Any) -> dict[str, Any]:
    return {"ph": "X", "cat": cat, "name": name, "ts": at, "dur": long, "tid": tid, "pid": 1, "args": args}


Read = Callable[..., RuntimeTrace]


@pytest.fixture
def trace(tmp_path: Path) -> Read:
    def read(*rows: dict[str, Any]) -> RuntimeTrace:
        window = row("user_annotation", "syncwatch.window", 0, 1000)
        events = [window, *rows, {"ph": "M", "name": "process_name"}]
        path = tmp_path / "trace.json"
        path.write_text(json.dumps({"baseTimeNanoseconds": BASE, "traceEvents": events}))
        return read_trace(path)

    return read


def test_a_synchronization_has_its_time_thread_and_innermost_operator(trace: Read) -> None:
    found = trace(
        row("cpu_op", "aten::item", 10, 50),
        row("cpu_op", "aten::_local_scalar_dense", 11, 48),
        row("cpu_op", "aten::add", 2, 3),
        row("cuda_runtime", "cudaStreamSynchronize", 20, 30.5, correlation=7),
    )

    (sync,) = found.waits
    assert (sync.kind, found.threads[sync.thread].tid) == (SyncKind.STREAM, MAIN)
    assert sync.operator is not None and sync.operator.name == "aten._local_scalar_dense"
    assert (sync.start_ns, sync.end_ns) == (BASE + 20_000, BASE + 50_500)
    assert not sync.pacing


def test_what_lies_outside_the_window_is_the_profilers_own(trace: Read) -> None:
    found = trace(row("cuda_runtime", "cudaDeviceSynchronize", 1500, 10, correlation=1))

    assert found.waits == ()


def test_waits_inside_the_pacing_range_are_marked(trace: Read) -> None:
    found = trace(
        row("user_annotation", "syncwatch.pacing", 5, 10),
        row("cuda_runtime", "cudaEventSynchronize", 6, 4, correlation=1),
        row("cuda_runtime", "cudaEventSynchronize", 30, 4, correlation=2),
    )

    assert [(sync.kind, sync.pacing) for sync in found.waits] == [(SyncKind.EVENT, True), (SyncKind.EVENT, False)]


def test_a_copy_is_read_from_its_name_and_blocks_when_its_operator_waited(trace: Read) -> None:
    found = trace(
        row("cpu_op", "aten::copy_", 10, 50),
        row("cuda_runtime", "cudaMemcpyAsync", 12, 2, correlation=1),
        row("cuda_runtime", "cudaStreamSynchronize", 15, 20, correlation=2),
        row("gpu_memcpy", "Memcpy HtoD (Pageable -> Device)", 14, 3, tid=7, correlation=1, bytes=24, stream=7),
        row("cpu_op", "aten::copy_", 70, 9),
        row("cuda_runtime", "cudaMemcpyAsync", 72, 2, correlation=3),
        row("gpu_memcpy", "Memcpy HtoD (Pinned -> Device)", 80, 3, tid=7, correlation=3, bytes=80, stream=7),
    )

    pageable, pinned = found.copies
    event = pageable.event
    assert (event.direction, event.memory, event.bytes) == (Direction.H2D, HostMemory.PAGEABLE, 24)
    assert pageable.blocking and pageable.operator == found.waits[0].operator
    assert pageable.operator is not None and pageable.operator.name == "aten.copy_"
    assert (pinned.event.memory, pinned.blocking) == (HostMemory.PINNED, False)


def test_a_read_into_pageable_memory_holds_the_host_without_a_synchronization_call(trace: Read) -> None:
    found = trace(
        row("cpu_op", "aten::copy_", 10, 50),
        row("cuda_runtime", "cudaMemcpyAsync", 12, 40, correlation=1),
        row("gpu_memcpy", "Memcpy DtoH (Device -> Pageable)", 45, 5, tid=7, correlation=1, bytes=4000, stream=7),
    )

    (held,) = found.waits
    assert (held.kind, held.start_ns, held.end_ns) == (SyncKind.COPY, BASE + 12_000, BASE + 52_000)
    assert found.copies[0].blocking


def test_kernels_and_memsets_belong_to_the_call_that_launched_them(trace: Read) -> None:
    found = trace(
        row("cuda_runtime", "cudaLaunchKernel", 12, 2, correlation=1),
        row("kernel", "gemm", 20, 5, tid=7, correlation=1, stream=7),
        row("cuda_runtime", "cudaMemsetAsync", 15, 2, correlation=2),
        row("gpu_memset", "Memset (Device)", 26, 1, tid=7, correlation=2, stream=7),
        row("kernel", "orphan of the profiler's warm-up", 1, 1, tid=7, correlation=99, stream=7),
    )

    assert [(kernel.name, kernel.call.start_ns - BASE) for kernel in found.kernels if kernel.call is not None] == [
        ("gemm", 12_000),
        ("Memset (Device)", 15_000),
    ]


def test_steps_are_in_order_of_time(trace: Read) -> None:
    found = trace(
        row("user_annotation", "syncwatch.step 1", 20, 5),
        row("user_annotation", "syncwatch.step 0", 10, 5),
    )

    assert [step.name for step in found.steps] == ["syncwatch.step 0", "syncwatch.step 1"]


def test_a_trace_without_our_window_is_no_measurement(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    path.write_text(json.dumps({"traceEvents": [row("cuda_runtime", "cudaDeviceSynchronize", 1, 1)]}))
    with pytest.raises(NotMeasuredError, match="recorded nothing"):
        read_trace(path)


def test_a_record_that_is_cut_off_is_no_measurement(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    path.write_text('{"traceEvents": [{"ph": "X"')
    with pytest.raises(NotMeasuredError, match=r"cannot be read.*cut off"):
        read_trace(path)


def test_a_row_that_cannot_be_read_is_told(trace: Read) -> None:
    found = trace(
        row("cuda_runtime", "cudaDeviceSynchronize", 1, 5, correlation=1),
        row("cuda_runtime", "cudaDeviceSynchronize", 10, -5, correlation=2),
    )

    assert len(found.waits) == 1
    assert "1 rows of the profiler's record cannot be read" in found.notes[0]


def test_a_wait_for_the_device_that_ends_the_window_is_the_programs_own(trace: Read) -> None:
    found = trace(
        row("cuda_runtime", "cudaLaunchKernel", 1, 5, correlation=1),
        row("cuda_runtime", "cudaDeviceSynchronize", 10, 5, correlation=2),
    )

    assert [wait.kind for wait in found.waits] == [SyncKind.DEVICE]


def test_a_read_by_a_library_is_one_wait_outside_every_operator_too(trace: Read) -> None:
    found = trace(
        row("cuda_runtime", "cudaMemcpyAsync", 12, 40, correlation=1),
        row("gpu_memcpy", "Memcpy DtoH (Device -> Pageable)", 45, 5, tid=7, correlation=1, bytes=4000, stream=7),
        row("cuda_runtime", "cudaStreamSynchronize", 53, 5, correlation=2),
    )

    (wait,) = found.waits
    assert (wait.kind, wait.start_ns, wait.end_ns) == (SyncKind.STREAM, BASE + 12_000, BASE + 58_000)


def test_a_read_into_pageable_memory_is_one_wait_from_its_copy_call_on(trace: Read) -> None:
    found = trace(
        row("cpu_op", "aten::copy_", 10, 90),
        row("cuda_runtime", "cudaMemcpyAsync", 12, 40, correlation=1),
        row("gpu_memcpy", "Memcpy DtoH (Device -> Pageable)", 45, 5, tid=7, correlation=1, bytes=4000, stream=7),
        row("cuda_runtime", "cudaStreamSynchronize", 60, 5, correlation=2),
    )

    (wait,) = found.waits
    assert (wait.kind, wait.start_ns, wait.end_ns) == (SyncKind.STREAM, BASE + 12_000, BASE + 65_000)


def test_a_wait_knows_its_stream(trace: Read) -> None:
    found = trace(
        row("cuda_runtime", "cudaStreamSynchronize", 60, 5, correlation=2),
        row("cuda_sync", "Stream Sync", 61, 3, tid=13, correlation=2, stream=13),
    )

    assert [wait.stream for wait in found.waits] == [13]


def test_a_wait_by_a_driver_call_that_was_not_recorded_is_still_a_wait(trace: Read) -> None:
    found = trace(
        row("cuda_sync", "Stream Sync", 61, 3, tid=13, correlation=2, stream=13),
        row("cuda_sync", "Stream Wait Event", 71, 3, tid=13, correlation=3, stream=13),
    )

    assert [(wait.kind, found.threads[wait.thread].tid, wait.stream) for wait in found.waits] == [
        (SyncKind.STREAM, MAIN, 13)
    ]


def test_allocator_calls_are_a_kind_of_their_own(trace: Read) -> None:
    found = trace(
        row("cuda_runtime", "cudaMalloc", 10, 5, correlation=1),
        row("cuda_runtime", "cudaHostAlloc", 20, 5, correlation=2),
    )

    assert [(each.kind, each.api) for each in found.waits] == [
        (SyncKind.ALLOCATION, "cudaMalloc"),
        (SyncKind.ALLOCATION, "cudaHostAlloc"),
    ]


def test_names_in_another_encoding_and_numbers_that_are_none_are_read(tmp_path: Path) -> None:
    window = row("user_annotation", "syncwatch.window", 0, 1000)
    wait = row("cuda_runtime", "cudaDeviceSynchronize", 1, 1, correlation=3)
    odd = row("cpu_op", "NAME", 2, 1, share=float("nan"))
    raw = json.dumps({"traceEvents": [window, wait, odd]}).encode().replace(b"NAME", b"\xff\xfe")

    path = tmp_path / "trace.json"
    path.write_bytes(raw)
    assert [wait.api for wait in read_trace(path).waits] == ["cudaDeviceSynchronize"]
