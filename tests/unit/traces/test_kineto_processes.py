"""Hand-made traces of torch.profiler: which of their rows are waits, work, steps and stacks of which process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from syncwatch.errors import UsageError
from syncwatch.model.codec import encode
from syncwatch.model.events import Direction, HostMemory, SyncKind
from syncwatch.model.session import Session
from syncwatch.traces.kineto.load import collected, load, processes_in
from syncwatch.traces.kineto.read_file import Trace
from syncwatch.traces.process import TraceProcess

Row = dict[str, Any]
PID, TID = 40, 41


def row(cat: str, name: str, ts: float, dur: float, pid: Any = PID, tid: Any = TID, **args: Any) -> Row:
    return {"ph": "X", "cat": cat, "name": name, "pid": pid, "tid": tid, "ts": ts, "dur": dur, "args": args}


def call(name: str, ts: float, dur: float, correlation: int | None = None, pid: Any = PID, tid: Any = TID) -> Row:
    about = {} if correlation is None else {"correlation": correlation}
    return row("cuda_runtime", name, ts, dur, pid, tid, **about)


def work(cat: str, name: str, ts: float, dur: float, correlation: int, device: int = 0, **args: Any) -> Row:
    about = {"stream": 7, "device": device, "correlation": correlation} | args
    return row(cat, name, ts, dur, device, about["stream"], **about)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trace.json"


def session_of(path: Path, *rows: Row, step_range: str | None = None, **keys: Any) -> Session:
    path.write_text(json.dumps(keys | {"traceEvents": rows}))
    return load(path, step_range)


def processes_of(path: Path, *rows: Row, **keys: Any) -> tuple[TraceProcess, ...]:
    path.write_text(json.dumps(keys | {"traceEvents": rows}))
    trace = Trace(path)
    return processes_in(trace, collected(trace), None)


def test_a_wait_has_its_operator_its_stream_its_step_and_its_stack(path: Path) -> None:
    session = session_of(
        path,
        row("user_annotation", "ProfilerStep#3", 0, 100),
        row("python_function", "app/train.py(4): step", 5, 80),
        row("python_function", "torch/_tensor.py(40): wrapped", 10, 60),
        row("python_function", "<built-in method item of Tensor object at 0x7f>", 11, 50),
        row("cpu_op", "aten::item", 12, 40),
        row("cpu_op", "aten::_local_scalar_dense", 13, 38),
        call("cudaMemcpyAsync", 14, 2, 8),
        call("cudaStreamSynchronize", 17, 30, 9),
        work("gpu_memcpy", "Memcpy DtoH (Device -> Pageable)", 40, 2, 8, bytes=4, stream=13),
        work("cuda_sync", "Stream Sync", 17, 30, 9, stream=13),
        baseTimeNanoseconds=1_000_000,
    )
    (recording,) = session.recordings
    (sync,) = recording.syncs
    assert (sync.step, sync.kind, sync.op, sync.stream) == (0, SyncKind.STREAM, "aten._local_scalar_dense", 13)
    assert (sync.start_ns, sync.end_ns, sync.api) == (1_014_000, 1_047_000, "cudaStreamSynchronize")
    assert sync.stack is not None
    frames = [recording.frames[index] for index in recording.stacks[sync.stack]]
    assert [(each.file, each.line, each.function) for each in frames] == [
        ("torch/_tensor.py", 40, "wrapped"),
        ("app/train.py", 4, "step"),
    ]
    assert any("not the line of the call" in note for note in recording.notes)
    assert recording.copies is not None
    (copy,) = recording.copies
    assert (copy.direction, copy.memory, copy.bytes, copy.blocking) == (Direction.D2H, HostMemory.PAGEABLE, 4, True)


def test_a_stream_that_waits_for_an_event_is_no_wait_of_the_host(path: Path) -> None:
    (recording,) = session_of(
        path,
        call("cudaStreamWaitEvent", 1, 2, 5),
        work("cuda_sync", "Stream Wait Event", 1, 50, 5),
        work("cuda_sync", "Stream Wait Event", 1, 50, 77),
        call("cudaEventSynchronize", 60, 2, 6),
        call("cudaLaunchKernel", 70, 2, 8),
    ).recordings
    assert [sync.kind for sync in recording.syncs] == [SyncKind.EVENT]


def test_a_wait_without_a_call_is_one_of_the_main_thread(path: Path) -> None:
    (process,) = processes_of(
        path,
        call("cudaLaunchKernel", 1, 2, 5),
        work("cuda_sync", "Context Sync", 10, 5, 99, stream=-1, device=1),
    )
    (wait,) = process.waits
    assert (wait.kind, wait.call.thread, wait.call.name, wait.stream, wait.device) == (
        SyncKind.DEVICE,
        0,
        "cudaDeviceSynchronize",
        None,
        1,
    )


def test_cuptis_mark_for_no_stream_is_none(path: Path) -> None:
    (process,) = processes_of(
        path,
        call("cudaDeviceSynchronize", 1, 2, 5),
        work("cuda_sync", "Context Sync", 1, 2, 5, stream=2**32 - 1),
        call("cudaLaunchKernel", 5, 2, 6),
    )
    assert [wait.stream for wait in process.waits] == [None]


def test_a_graph_asks_for_many_kernels_in_one_call(path: Path) -> None:
    (process,) = processes_of(
        path,
        call("cudaGraphLaunch", 1, 5, 9),
        *(work("kernel", f"k{number}", 10 + number, 1, 9, **{"graph node id": number}) for number in range(3)),
    )
    assert [kernel.name for kernel in process.kernels or ()] == ["k0", "k1", "k2"]
    assert len({id(kernel.call) for kernel in process.kernels or ()}) == 1


def test_work_without_its_call_is_kept_outside_the_steps_and_said(path: Path) -> None:
    (process,) = processes_of(
        path,
        row("user_annotation", "ProfilerStep#1", 0, 100),
        call("cudaLaunchKernel", 1, 2, 5),
        work("kernel", "known", 10, 1, 5),
        work("kernel", "unknown", 20, 1, 6),
        work("gpu_memset", "Memset (Device)", 30, 1, 7, bytes=64),
    )
    assert [(each.name, each.step, each.memset_bytes) for each in process.kernels or ()] == [
        ("known", 0, None),
        ("unknown", None, None),
        ("Memset (Device)", None, 64),
    ]
    assert any(note.startswith("Of 2 pieces of work") for note in process.notes)


def test_launches_without_work_are_no_idle_gpu(path: Path) -> None:
    (process,) = processes_of(path, call("cudaLaunchKernel", 1, 2, 5), call("cudaStreamSynchronize", 4, 2, 6))
    assert process.kernels is None
    assert any("no work on a GPU" in note for note in process.notes)


def test_each_gpu_keeps_its_work_and_its_waits(path: Path) -> None:
    (process,) = processes_of(
        path,
        call("cudaLaunchKernel", 1, 2, 5),
        call("cudaLaunchKernel", 4, 2, 6),
        call("cudaStreamSynchronize", 8, 2, 7),
        call("cudaStreamSynchronize", 11, 2, 8),
        call("cudaLaunchKernel", 14, 2, 9),
        work("kernel", "a", 10, 1, 5, device=0),
        work("kernel", "b", 10, 1, 6, device=3),
        work("cuda_sync", "Stream Sync", 11, 2, 8, device=3),
    )
    assert [(each.name, each.device) for each in process.kernels or ()] == [("a", 0), ("b", 3)]
    assert [each.device for each in process.waits] == [0, 3]


def test_a_wait_of_unknown_gpu_is_for_the_only_one_that_worked(path: Path) -> None:
    (process,) = processes_of(
        path,
        call("cudaLaunchKernel", 1, 2, 5),
        work("kernel", "a", 10, 1, 5, device=2),
        call("cudaStreamSynchronize", 8, 2, 7),
    )
    assert [each.device for each in process.waits] == [2]
    assert "the stream that a wait was for" in process.blind_to


def test_processes_that_count_correlations_alike_keep_their_own_work(path: Path) -> None:
    first, second = processes_of(
        path,
        call("cudaLaunchKernel", 1, 2, 5, pid=1),
        work("kernel", "a", 10, 1, 5),
        call("cudaLaunchKernel", 100, 2, 5, pid=2),
        work("kernel", "b", 110, 1, 5, device=1),
        row("cpu_op", "aten::add", 1, 2, pid=3),
    )
    assert [first.name, second.name] == ["process 1", "process 2"]
    assert [[each.name for each in process.kernels or ()] for process in (first, second)] == [["a"], ["b"]]


def test_a_rank_is_named_and_the_host_is_not(path: Path) -> None:
    session = session_of(
        path.with_name("secret-host_4711.1695000000.pt.trace.json"),
        call("cudaLaunchKernel", 1, 2, 5),
        distributedInfo={"backend": "nccl", "rank": 3, "world_size": 8},
        deviceProperties=[{"id": 0, "name": "NVIDIA H200", "totalGlobalMem": 1}],
        host_name="secret-host",
    )
    assert session.recordings[0].variant == "rank 3"
    assert session.environment.gpu == "NVIDIA H200"
    assert session.target == "4711.1695000000.pt.trace.json"
    assert b"secret" not in encode(session)


def test_odd_rows_are_passed_over(path: Path) -> None:
    (process,) = processes_of(
        path,
        {"ph": "i", "name": "Iteration Start: PyTorch Profiler", "pid": "Traces", "tid": "x", "ts": 1, "s": "g"},
        {"ph": "C", "name": "counter", "args": {"v": 1}},
        {"ph": "s", "id": 5, "cat": "ac2g", "name": "ac2g", "pid": PID, "tid": TID, "ts": 1},
        {"ph": "M", "name": "thread_name", "pid": PID, "tid": TID, "args": {"name": "main"}},
        row("Trace", "PyTorch Profiler (0)", 0, 9, "Spans", "PyTorch Profiler"),
        row("overhead", "Buffer Flush", 0, 9, -1, 0),
        row("gpu_user_annotation", "ProfilerStep#0", 0, 9, 0, 7),
        call("cudaStreamSynchronize", 1, 2, tid="a name"),
        {"ph": "X", "cat": "cuda_runtime", "name": "cudaLaunchKernel", "pid": PID, "tid": TID, "ts": 9},
    )
    assert process.threads == ("thread a name", "main")
    assert len(process.waits) == 1
    assert not any("left out" in note for note in process.notes)


@pytest.mark.parametrize(
    "broken",
    [
        call("cudaLaunchKernel", 1, -2, 5),
        call("cudaLaunchKernel", 1e30, 2, 5),
        call("cudaLaunchKernel", 1, 2, 2**63),
        call("cudaLaunchKernel", 1, 2, "five"),  # type: ignore[arg-type]
        work("kernel", "k", 1, 2, 5, device=-7),
        work("gpu_memset", "m", 1, 2, 5, bytes=-1),
        row("cpu_op", "aten::add", 1, 2) | {"ts": None},
        row("cpu_op", "aten::add", 1, 2) | {"name": 7},
        row("cuda_runtime", "cudaMalloc", 1, 2) | {"args": []},
    ],
)
def test_a_row_that_cannot_be_is_left_out_and_counted(path: Path, broken: Row) -> None:
    (process,) = processes_of(path, broken, call("cudaLaunchKernel", 1, 2, 5), work("kernel", "k", 5, 1, 5))
    assert [each.name for each in process.kernels or ()] == ["k"]
    assert "1 rows are not as torch.profiler writes them, and were left out." in process.notes


def test_the_profilers_own_wait_at_its_end_is_left_out(path: Path) -> None:
    waits = (call("cudaDeviceSynchronize", 1, 2), call("cudaDeviceSynchronize", 50, 2))
    (process,) = processes_of(path, *waits)
    assert [wait.call.start_ns for wait in process.waits] == [1_000]
    assert any("torch.profiler itself waits" in note for note in process.notes)
    (stepped,) = processes_of(path, *waits, row("user_annotation", "ProfilerStep#0", 0, 100))
    assert len(stepped.waits) == 2


def test_a_missing_base_and_one_behind_the_rows(path: Path) -> None:
    rows = [call("cudaStreamSynchronize", 1_600_000_000_000_000, 2), call("cudaLaunchKernel", 1_600_000_000_000_009, 2)]
    (old,) = processes_of(path, *rows)
    assert old.waits[0].call.start_ns == 1_600_000_000_000_000_000
    path.write_text(json.dumps({"traceEvents": rows, "baseTimeNanoseconds": 7}))
    trace = Trace(path)
    (process,) = processes_in(trace, collected(trace), None)
    assert process.waits[0].call.start_ns == 1_600_000_000_000_000_007


def test_steps_may_be_named(path: Path) -> None:
    rows = [row("user_annotation", f"decode {number}", 10 * number, 9) for number in range(3)]
    rows.append(call("cudaLaunchKernel", 1, 2, 5))
    assert len(session_of(path, *rows, step_range="decode *").recordings[0].steps) == 3
    with pytest.raises(UsageError, match="'decode 0'"):
        session_of(path, *rows, step_range="decode")


def test_a_copy_into_pageable_memory_without_its_call_is_not_clean(path: Path) -> None:
    session = session_of(
        path,
        call("cudaLaunchKernel", 5, 2, 1),
        work("kernel", "k", 8, 20, 1),
        work("gpu_memcpy", "Memcpy DtoH (Device -> Pageable)", 30, 4, 2, bytes=4),
    )

    assert any("into pageable memory" in sentence for sentence in session.unwatched)


KERNEL = (call("cudaLaunchKernel", 0, 1, 1), work("kernel", "add", 2, 3, 1))


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([call("cudaStreamSynchronize", 9, 5) | {"ph": "B"}, call("", 14, 0) | {"ph": "E", "cat": ""}], "1 rows"),
        ([call("cudaStreamSynchronize", 9, 5) | {"ph": "B", "cat": ""}], "1 rows"),
        ([call("cudaStreamSynchronize", 9, 5) | {"cat": "runtime"}], "1 calls"),
        ([call("hipStreamSynchronize", 9, 5)], "1 calls"),
        ([call("hipStreamSynchronize", 9, 5) | {"cat": "hip_runtime"}], "1 calls"),
        ([call("cudaMemcpyAsync", 9, 5, 2)], "Of 1 calls that copy the trace does not hold what 1 of them copied"),
    ],
)
def test_what_may_hide_a_wait_is_said(path: Path, rows: list[Row], said: str) -> None:
    session = session_of(path, *KERNEL, *rows)
    (sentence,) = session.unwatched
    assert sentence.startswith(said), sentence
    assert "Record" in sentence


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [row("overhead", "Lazy Function Loading", 9, 5)],
        [row("cpu_op", "aten::item", 9, 5) | {"ph": "i"}],
        [row("app", "customers", 9, 5)],
        [
            call("cudaMemcpyAsync", 9, 5, 2),
            work("gpu_memcpy", "Memcpy HtoD (Pinned -> Device)", 15, 2, 2, bytes=4),
        ],
        [
            call("cudaStreamBeginCapture_v10000", 8, 1),
            call("cudaMemcpyAsync", 9, 1, 2),
            call("cudaStreamEndCapture", 11, 1),
        ],
    ],
)
def test_what_hides_none_is_not(path: Path, rows: list[Row]) -> None:
    assert session_of(path, *KERNEL, *rows).unwatched == ()
