"""Exports of nsys by version, process, thread, GPU and name; each case is a file of a few rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncwatch.errors import UsageError
from syncwatch.model.events import Direction, HostMemory, SyncKind
from syncwatch.model.session import RecordedBy, Recording
from syncwatch.traces.nsys.load import load
from tests.helpers.nsys_files import PID, TID, US, VERSIONS, NsysExport, global_id


def one(path: Path, step_range: str | None = None) -> Recording:
    (recording,) = load(path, step_range).recordings
    return recording


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version(tmp_path: Path, version: int) -> None:
    path = tmp_path / "trace.sqlite"
    with NsysExport(path, version) as export:
        export.row("TARGET_INFO_GPU", vmId=1, id=0, name="NVIDIA H200", cuDevice=0)
        export.row("ThreadNames", nameId=export.text("worker"), priority=1, globalTid=global_id(PID, TID))
        export.step_with_a_read(1000)
        export.range("step 0", (900, 100 * US))
        export.range(export.text("inner"), (5 * US, 90 * US))
    session = load(path, "step *")
    recording = one(path, "step *")
    assert (session.recorder, session.environment.gpu) == (RecordedBy.NSYS, "NVIDIA H200")
    assert recording.threads == (f"worker ({TID})",)
    (sync,) = recording.syncs
    assert (sync.kind, sync.api, sync.stream, sync.device) == (SyncKind.STREAM, "cudaStreamSynchronize", 7, 0)
    assert (sync.start_ns, sync.end_ns) == (1000 + 5 * US, 1000 + 95 * US)
    assert recording.range_stacks == (("step 0",),)
    (copy,) = recording.copies or ()
    assert (copy.direction, copy.memory, copy.bytes, copy.blocking) == (Direction.D2H, HostMemory.PAGEABLE, 8, True)
    (kernel,) = recording.kernels or ()
    assert (kernel.name, kernel.step, kernel.call and kernel.call.name) == ("void gemm<float>()", 0, "cudaLaunchKernel")
    assert [each.name for each in recording.ranges] == ["step 0", "inner"]
    assert recording.rounds_ns == ((100 * US - 900,),)
    assert (recording.coverage.seen, recording.coverage.attributed) == (1, 0)


def test_rows_in_any_order_come_in_the_order_of_time(tmp_path: Path) -> None:
    path = tmp_path / "trace.sqlite"
    with NsysExport(path) as export:
        for begin in (5, 1, 9, 3):
            export.step_with_a_read(begin * 100 * US)
    recording = one(path)
    assert [kernel.start_ns for kernel in recording.kernels or ()] == [
        begin * 100 * US + 10 * US for begin in (1, 3, 5, 9)
    ]
    starts = [sync.start_ns for sync in recording.syncs]
    assert starts == sorted(starts, key=lambda start: start or 0)


def test_processes_are_recordings_and_only_those_that_used_cuda(tmp_path: Path) -> None:
    path = tmp_path / "trace.sqlite"
    with NsysExport(path) as export:
        for pid, device in ((10, 0), (11, 1)):
            # Each process counts its correlations anew.
            launch = export.call("cudaLaunchKernel", (1000, 2000), pid=pid, correlation=1)
            export.kernel((1500, 5000), launch, pid=pid, device=device, name=f"kernel of {pid}")
            wait = export.call("cudaDeviceSynchronize", (3000, 5100), pid=pid, correlation=2)
            assert (launch, wait) == (1, 2)
        export.range("no work here", (0, 10), pid=12)
        export.call("cudaGetDevice", (0, 10), pid=13)
    first, second = load(path).recordings
    assert (first.variant, second.variant) == ("process 10", "process 11")
    assert [kernel.name for kernel in second.kernels or ()] == ["kernel of 11"]
    # The file gives no GPU for the wait: it is that of the process.
    assert [sync.device for sync in (*first.syncs, *second.syncs)] == [0, 1]


def test_equal_pids_of_two_machines_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "trace.sqlite"
    with NsysExport(path) as export:
        name = export.text("cudaDeviceSynchronize")
        for machine in (1, 2):
            thread = global_id(PID, TID, machine)
            export.row("CUPTI_ACTIVITY_KIND_RUNTIME", start=1, end=9, globalTid=thread, correlationId=1, nameId=name)
    assert [each.variant for each in load(path).recordings] == [
        f"process {PID}, machine 1",
        f"process {PID}, machine 2",
    ]


def test_kernels_of_a_graph_share_its_launch(tmp_path: Path) -> None:
    path = tmp_path / "trace.sqlite"
    with NsysExport(path) as export:
        launch = export.call("cudaGraphLaunch_v10000", (1000, 2000))
        for each in range(3):
            export.kernel((2000 + each * 100, 2050 + each * 100), launch)
        export.copy((2400, 2500), launch, 2, (2, 0), 4)
        export.call("cudaStreamSynchronize", (2000, 2600))
    recording = one(path)
    assert {kernel.call for kernel in recording.kernels or ()} == {(recording.kernels or ())[0].call}
    # The launch does not wait, though a copy to pageable memory is in the graph.
    assert [sync.kind for sync in recording.syncs] == [SyncKind.STREAM]


def test_a_graph_recorded_as_one_is_work_and_a_note_says_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "trace.sqlite"
    with NsysExport(path) as export:
        launch = export.call("cudaGraphLaunch_v10000", (1000, 2000))
        place = {"deviceId": 0, "contextId": 1, "streamId": 7, "globalPid": global_id(PID)}
        export.row("CUPTI_ACTIVITY_KIND_GRAPH_TRACE", start=2000, end=9000, correlationId=launch, graphId=3, **place)
    recording = one(path)
    assert [(kernel.name, kernel.end_ns) for kernel in recording.kernels or ()] == [("CUDA graph 3", 9000)]
    assert any("--cuda-graph-trace=node" in note for note in recording.notes)


def test_a_wait_inside_a_stream_is_none_of_the_host(tmp_path: Path) -> None:
    path = tmp_path / "trace.sqlite"
    with NsysExport(path) as export:
        export.kernel((100, 200))
        export.sync((1000, 2000), export.call("cudaStreamWaitEvent_v3020", (1000, 2000)), 2)
        export.sync((3000, 4000), None, 2)
    assert one(path).syncs == ()


def test_a_wait_whose_call_was_not_recorded_counts(tmp_path: Path) -> None:
    path = tmp_path / "trace.sqlite"
    with NsysExport(path) as export:
        export.sync((3000, 4000), 77, 4)
        export.sync((5000, 6000), 78, 3, stream=9)
    recording = one(path)
    assert [(sync.kind, sync.stream, sync.api) for sync in recording.syncs] == [
        (SyncKind.DEVICE, 7, "cudaDeviceSynchronize"),
        (SyncKind.STREAM, 9, "cudaStreamSynchronize"),
    ]
    assert recording.threads == ("unknown thread",)


def test_work_without_a_call_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "trace.sqlite"
    with NsysExport(path) as export:
        export.kernel((100, 200))
        export.copy((300, 400), None, 12, (2, 4), 4096)
        export.memset((500, 600), 12345, 64)
        export.kernel((0, 0), name="lost by CUPTI")
    recording = one(path)
    assert [(kernel.name, kernel.call, kernel.memset_bytes) for kernel in recording.kernels or ()] == [
        ("void gemm<float>()", None, None),
        ("Memset (Device)", None, 64),
    ]
    (copy,) = recording.copies or ()
    assert (copy.direction, copy.memory, copy.blocking) == (Direction.D2H, None, None)


def test_numbers_of_memory_are_those_the_file_gives(tmp_path: Path) -> None:
    path = tmp_path / "trace.sqlite"
    with NsysExport(path) as export:
        export.row("ENUM_CUDA_MEM_KIND", id=0, name="CUDA_MEMOPR_MEMORY_KIND_PINNED")
        export.copy((300, 400), export.call("cudaMemcpyAsync", (100, 200)), 2, (2, 0), 8)
    (copy,) = one(path).copies or ()
    assert copy.memory is HostMemory.PINNED


def test_ranges_have_their_domain_and_last_to_the_end(tmp_path: Path) -> None:
    path = tmp_path / "trace.sqlite"
    with NsysExport(path) as export:
        export.row("NVTX_EVENTS", start=1, eventType=75, text="CCCL", domainId=5, globalTid=global_id(PID, TID))
        export.range("cub::DeviceScan", (100, 200), domain=5)
        export.range("started", (150, 250), kind=60)
        export.range("open", (160, None))
        export.row("NVTX_EVENTS", start=170, eventType=34, text="a mark", globalTid=global_id(PID, TID))
        export.row("NVTX_EVENTS", start=180, end=190, eventType=59, globalTid=global_id(PID, TID))
        export.kernel((300, 900))
    assert [(each.name, each.start_ns, each.end_ns) for each in one(path).ranges] == [
        ("CCCL:cub::DeviceScan", 100, 200),
        ("started", 150, 250),
        ("open", 160, 900),
    ]


def test_steps_are_chosen_by_name_or_pattern(tmp_path: Path) -> None:
    path = tmp_path / "trace.sqlite"
    with NsysExport(path) as export:
        for each in range(3):
            export.range(f"decode {each}", (each * 1000, each * 1000 + 900))
            export.call("cudaDeviceSynchronize", (each * 1000 + 100, each * 1000 + 200))
        export.call("cudaDeviceSynchronize", (950, 960))
    recording = one(path, "decode *")
    assert [sync.step for sync in recording.syncs] == [0, None, 1, 2]
    assert recording.rounds_ns == ((900, 900, 900),)
    with pytest.raises(UsageError, match=r"No range of the trace is called 'decod'. There are 'decode 2'"):
        load(path, "decod")


def test_unix_times_are_kept_to_the_nanosecond(tmp_path: Path) -> None:
    path = tmp_path / "trace.sqlite"
    now = 1_800_000_000_123_456_789
    with NsysExport(path) as export:
        export.call("cudaDeviceSynchronize", (now, now + 1))
    (sync,) = one(path).syncs
    assert (sync.start_ns, sync.end_ns) == (now, now + 1)
