from __future__ import annotations

import json
from typing import Any

import pytest

from syncwatch.errors import NotMeasuredError
from syncwatch.model.events import Direction, HostMemory, SyncKind
from syncwatch.sense.profiler_trace import read_trace
from syncwatch.sense.runtime_trace import RuntimeTrace

BASE = 1_000_000_000
MAIN, BACKWARD = 100, 200


def row(cat: str, name: str, at: float, long: float, tid: int = MAIN, **args: Any) -> dict[str, Any]:
    return {"ph": "X", "cat": cat, "name": name, "ts": at, "dur": long, "tid": tid, "pid": 1, "args": args}


def trace(*rows: dict[str, Any]) -> RuntimeTrace:
    window = row("user_annotation", "syncwatch.window", 0, 1000)
    events = [window, *rows, {"ph": "M", "name": "process_name"}]
    return read_trace(json.dumps({"baseTimeNanoseconds": BASE, "traceEvents": events}).encode())


def test_a_synchronization_has_its_time_thread_and_innermost_operator() -> None:
    found = trace(
        row("cpu_op", "aten::item", 10, 50),
        row("cpu_op", "aten::_local_scalar_dense", 11, 48),
        row("cpu_op", "aten::add", 2, 3),
        row("cuda_runtime", "cudaStreamSynchronize", 20, 30.5, correlation=7),
    )

    (sync,) = found.syncs
    assert (sync.kind, sync.call.tid, sync.op) == (SyncKind.STREAM, MAIN, "aten._local_scalar_dense")
    assert (sync.start_ns, sync.end_ns) == (BASE + 20_000, BASE + 50_500)
    assert not sync.pacing


def test_what_lies_outside_the_window_is_the_profilers_own() -> None:
    found = trace(row("cuda_runtime", "cudaDeviceSynchronize", 1500, 10, correlation=1))

    assert found.syncs == ()


def test_waits_inside_the_pacing_range_are_marked() -> None:
    found = trace(
        row("user_annotation", "syncwatch.pacing", 5, 10),
        row("cuda_runtime", "cudaEventSynchronize", 6, 4, correlation=1),
        row("cuda_runtime", "cudaEventSynchronize", 30, 4, correlation=2),
    )

    assert [(sync.kind, sync.pacing) for sync in found.syncs] == [(SyncKind.EVENT, True), (SyncKind.EVENT, False)]


def test_a_copy_is_read_from_its_name_and_blocks_when_its_operator_waited() -> None:
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
    assert (pageable.direction, pageable.memory, pageable.bytes) == (Direction.H2D, HostMemory.PAGEABLE, 24)
    assert pageable.blocking and pageable.op == "aten.copy_" and pageable.op_start_ns == found.syncs[0].op_start_ns
    assert (pinned.memory, pinned.blocking) == (HostMemory.PINNED, False)


def test_a_read_into_pageable_memory_holds_the_host_without_a_synchronization_call() -> None:
    found = trace(
        row("cpu_op", "aten::copy_", 10, 50),
        row("cuda_runtime", "cudaMemcpyAsync", 12, 40, correlation=1),
        row("gpu_memcpy", "Memcpy DtoH (Device -> Pageable)", 45, 5, tid=7, correlation=1, bytes=4000, stream=7),
    )

    (held,) = found.syncs
    assert (held.kind, held.start_ns, held.end_ns) == (SyncKind.COPY, BASE + 12_000, BASE + 52_000)
    assert found.copies[0].blocking


def test_kernels_and_memsets_belong_to_the_call_that_launched_them() -> None:
    found = trace(
        row("cuda_runtime", "cudaLaunchKernel", 12, 2, correlation=1),
        row("kernel", "gemm", 20, 5, tid=7, correlation=1, stream=7),
        row("cuda_runtime", "cudaMemsetAsync", 15, 2, correlation=2),
        row("gpu_memset", "Memset (Device)", 26, 1, tid=7, correlation=2, stream=7),
        row("kernel", "orphan of the profiler's warm-up", 1, 1, tid=7, correlation=99, stream=7),
    )

    assert [(kernel.name, kernel.call.start_ns - BASE) for kernel in found.kernels] == [
        ("gemm", 12_000),
        ("Memset (Device)", 15_000),
    ]


def test_steps_are_in_order_of_time() -> None:
    found = trace(
        row("user_annotation", "syncwatch.step 1", 20, 5),
        row("user_annotation", "syncwatch.step 0", 10, 5),
    )

    assert [step.name for step in found.steps] == ["syncwatch.step 0", "syncwatch.step 1"]


def test_a_trace_without_our_window_is_no_measurement() -> None:
    with pytest.raises(NotMeasuredError, match="recorded nothing"):
        read_trace(json.dumps({"traceEvents": [row("cuda_runtime", "cudaDeviceSynchronize", 1, 1)]}).encode())


def test_a_read_into_pageable_memory_is_one_wait_from_its_copy_call_on() -> None:
    found = trace(
        row("cpu_op", "aten::copy_", 10, 90),
        row("cuda_runtime", "cudaMemcpyAsync", 12, 40, correlation=1),
        row("gpu_memcpy", "Memcpy DtoH (Device -> Pageable)", 45, 5, tid=7, correlation=1, bytes=4000, stream=7),
        row("cuda_runtime", "cudaStreamSynchronize", 60, 5, correlation=2),
    )

    (wait,) = found.syncs
    assert (wait.kind, wait.start_ns, wait.end_ns) == (SyncKind.STREAM, BASE + 12_000, BASE + 65_000)


def test_a_wait_knows_its_stream() -> None:
    found = trace(
        row("cuda_runtime", "cudaStreamSynchronize", 60, 5, correlation=2),
        row("cuda_sync", "Stream Sync", 61, 3, tid=13, correlation=2, stream=13),
    )

    assert [wait.stream for wait in found.syncs] == [13]


def test_a_wait_by_a_driver_call_that_was_not_recorded_is_still_a_wait() -> None:
    found = trace(
        row("cuda_sync", "Stream Sync", 61, 3, tid=13, correlation=2, stream=13),
        row("cuda_sync", "Stream Wait Event", 71, 3, tid=13, correlation=3, stream=13),
    )

    assert [(wait.kind, wait.call.tid, wait.stream) for wait in found.syncs] == [(SyncKind.STREAM, MAIN, 13)]


def test_allocator_calls_are_a_kind_of_their_own() -> None:
    found = trace(
        row("cuda_runtime", "cudaMalloc", 10, 5, correlation=1),
        row("cuda_runtime", "cudaHostAlloc", 20, 5, correlation=2),
    )

    assert [(each.kind, each.call.name) for each in found.syncs] == [
        (SyncKind.ALLOCATION, "cudaMalloc"),
        (SyncKind.ALLOCATION, "cudaHostAlloc"),
    ]


def test_names_in_another_encoding_and_numbers_that_are_none_are_read() -> None:
    window = row("user_annotation", "syncwatch.window", 0, 1000)
    wait = row("cuda_runtime", "cudaDeviceSynchronize", 1, 1, correlation=3)
    odd = row("cpu_op", "NAME", 2, 1, share=float("nan"))
    raw = json.dumps({"traceEvents": [window, wait, odd]}).encode().replace(b"NAME", b"\xff\xfe")

    assert [sync.call.name for sync in read_trace(raw).syncs] == ["cudaDeviceSynchronize"]
