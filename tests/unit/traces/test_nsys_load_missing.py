"""What an export of nsys lacks is not measured, unless the rest of it says that there was nothing to record."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncwatch.analyse.timeline import timeline_of
from syncwatch.errors import NotMeasuredError
from syncwatch.model.events import SyncKind
from syncwatch.model.session import Recording
from syncwatch.traces.nsys.load import load
from tests.helpers.nsys_files import NsysExport


def one(path: Path) -> Recording:
    (recording,) = load(path).recordings
    return recording


def test_missing_tables_and_columns_are_what_was_not_traced(tmp_path: Path) -> None:
    path = tmp_path / "trace.sqlite"
    left_out = ("NVTX_EVENTS", "ThreadNames", "TARGET_INFO_GPU", "CUPTI_ACTIVITY_KIND_SYNCHRONIZATION", "PROCESSES")
    with NsysExport(path, 2022, without=left_out) as export:
        export.kernel((1500, 5000), export.call("cudaLaunchKernel", (1000, 2000)))
        export.call("cudaStreamSynchronize_ptsz_v7000", (3000, 5100))
        export.database.execute("ALTER TABLE CUPTI_ACTIVITY_KIND_KERNEL DROP COLUMN demangledName")
    session = load(path)
    (recording,) = session.recordings
    assert session.environment.gpu is None
    assert [kernel.name for kernel in recording.kernels or ()] == ["void gemm<float>()"]
    assert [(sync.kind, sync.stream, sync.api) for sync in recording.syncs] == [
        (SyncKind.STREAM, None, "cudaStreamSynchronize_ptsz")
    ]


def test_without_calls_nothing_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "trace.sqlite"
    left_out = ("CUPTI_ACTIVITY_KIND_RUNTIME", "CUPTI_ACTIVITY_KIND_SYNCHRONIZATION")
    with NsysExport(path, without=left_out) as export:
        export.kernel((1500, 5000))
    recording = one(path)
    assert recording.coverage.seen is None
    assert any("no calls of the CUDA runtime" in note for note in recording.notes)


def test_launches_without_work_are_not_measured(tmp_path: Path) -> None:
    path = tmp_path / "trace.sqlite"
    with NsysExport(path) as export:
        export.call("cudaLaunchKernel", (1000, 2000))
        export.call("cudaDeviceSynchronize", (3000, 5100))
    recording = one(path)
    assert (recording.kernels, recording.copies) == (None, None)
    assert any("no work on a GPU" in note for note in recording.notes)


@pytest.mark.parametrize(
    ("table", "said"), [("KERNEL", "launches and no kernels"), ("MEMCPY", "calls of copies and no copies")]
)
def test_work_that_was_asked_for_and_not_recorded_is_not_measured(tmp_path: Path, table: str, said: str) -> None:
    path = tmp_path / "trace.sqlite"
    with NsysExport(path) as export:
        export.step_with_a_read(1000)
        export.database.execute(f"DROP TABLE CUPTI_ACTIVITY_KIND_{table}")
    recording = one(path)
    assert (recording.kernels is None, recording.copies is None) == (table == "KERNEL", table == "MEMCPY")
    assert timeline_of(recording).gpus is None
    assert len(recording.syncs) == 1
    (note,) = (note for note in recording.notes if said in note)
    assert "no wait has a price" in note


@pytest.mark.parametrize("table", ["KERNEL", "MEMCPY"])
def test_work_that_nobody_asked_for_is_none_and_not_unknown(tmp_path: Path, table: str) -> None:
    path = tmp_path / "trace.sqlite"
    with NsysExport(path, without=(f"CUPTI_ACTIVITY_KIND_{table}",)) as export:
        export.call("cudaLaunchHostFunc_v10000", (100, 200))
        if table == "KERNEL":
            export.copy((400, 500), export.call("cudaMemcpyAsync_v3020", (300, 600)), 2, (2, 0), 8)
        else:
            export.kernel((400, 500), export.call("cudaLaunchKernel_v7000", (300, 350)))
    recording = one(path)
    assert recording.kernels is not None
    assert recording.copies is not None
    assert timeline_of(recording).gpus is not None


def test_a_trace_without_cuda_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "trace.sqlite"
    with NsysExport(path) as export:
        export.range("python", (0, 10))
    with pytest.raises(NotMeasuredError, match="nothing of CUDA"):
        load(path)
