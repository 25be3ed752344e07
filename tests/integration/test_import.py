"""The command line reads traces of nsys, one of them of a real H200; its figures equal those of direct SQL queries."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from syncwatch.model.events import Direction, SyncKind
from syncwatch.model.session import RecordedBy
from syncwatch.traces.nsys.load import load
from tests.helpers.command import ROOT, Ended, syncwatch
from tests.helpers.nsys_binary import Nsys, binaries
from tests.helpers.nsys_files import NsysExport

H200 = ROOT / "tests" / "data" / "h200_nsys_2024.2.3.sqlite"


def asked(query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"{H200.as_uri()}?mode=ro&immutable=1", uri=True)) as database:
        return list(database.execute(query))


def test_the_h200_export_says_what_sql_says_of_it() -> None:
    session = load(H200)
    (recording,) = session.recordings
    assert (session.recorder, session.environment.gpu) == (RecordedBy.NSYS, "NVIDIA H200")
    assert len(recording.kernels or ()) == asked("SELECT count(*) FROM CUPTI_ACTIVITY_KIND_KERNEL")[0][0] == 280
    spent = sum(kernel.end_ns - kernel.start_ns for kernel in recording.kernels or ())
    assert spent == asked('SELECT sum("end" - start) FROM CUPTI_ACTIVITY_KIND_KERNEL')[0][0]
    copies = recording.copies or ()
    moved = {
        kind: (
            sum(copy.direction is way for copy in copies),
            sum(copy.bytes for copy in copies if copy.direction is way),
        )
        for kind, way in ((1, Direction.H2D), (2, Direction.D2H))
    }
    by_kind = asked("SELECT copyKind, count(*), sum(bytes) FROM CUPTI_ACTIVITY_KIND_MEMCPY GROUP BY 1")
    assert moved == {kind: (count, size) for kind, count, size in by_kind}
    names = "CUPTI_ACTIVITY_KIND_RUNTIME r JOIN StringIds s ON s.id = r.nameId"
    calls = Counter(
        {name.split("_v")[0]: count for name, count in asked(f"SELECT value, count(*) FROM {names} GROUP BY 1")}
    )
    kinds = Counter(sync.kind for sync in recording.syncs)
    assert kinds[SyncKind.STREAM] == calls["cudaStreamSynchronize"] == 14
    assert kinds[SyncKind.DEVICE] == calls["cudaDeviceSynchronize"] == 2
    assert kinds[SyncKind.EVENT] == calls["cudaEventSynchronize"] == 1
    allocations = ("cudaMalloc", "cudaFree", "cudaHostAlloc")
    assert kinds[SyncKind.ALLOCATION] == sum(calls[name] for name in allocations) == 10
    # Two copies held the host with no synchronization after them: their calls took over 100 us, queued ones never do.
    long = asked(
        f"SELECT r.start FROM {names} WHERE value LIKE 'cudaMemcpyAsync%' AND \"end\" - start > 100000 AND NOT EXISTS "
        f'(SELECT 1 FROM CUPTI_ACTIVITY_KIND_SYNCHRONIZATION y WHERE y.start BETWEEN r."end" AND r."end" + 50000)'
    )
    assert [sync.start_ns for sync in recording.syncs if sync.kind is SyncKind.COPY] == [start for (start,) in long]
    ranges = asked("SELECT count(*) FROM NVTX_EVENTS WHERE eventType IN (59, 60)")
    assert len(recording.ranges) == ranges[0][0] == 18
    assert {each.name for each in recording.ranges} == {
        f"CCCL:{name}" for (name,) in asked("SELECT value FROM StringIds WHERE value LIKE 'cub::%'")
    }


def test_each_range_of_the_h200_export_holds_what_it_held() -> None:
    (recording,) = load(H200, "CCCL:cub::DeviceReduce::Sum").recordings
    (sums,) = asked("SELECT count(*) FROM NVTX_EVENTS n JOIN StringIds s ON s.id = n.textId WHERE value LIKE '%::Sum'")
    assert len(recording.steps) == sums[0] == 6
    inside = asked(
        "SELECT count(*) FROM CUPTI_ACTIVITY_KIND_KERNEL k JOIN CUPTI_ACTIVITY_KIND_RUNTIME r USING (correlationId) "
        'JOIN NVTX_EVENTS n ON r.start BETWEEN n.start AND n."end" JOIN StringIds s ON s.id = n.textId '
        "WHERE s.value LIKE '%::Sum'"
    )
    assert sum(kernel.step is not None for kernel in recording.kernels or ()) == inside[0][0] > 0


def test_report_and_gate_of_the_h200_export(tmp_path: Path) -> None:
    ended = syncwatch("report", str(H200), "--format", "json")
    assert (ended.code, ended.err) == (0, "")
    report = json.loads(ended.out)
    (variant,) = report["variants"]
    assert variant["name"] == "process 442" and variant["per_step"]["syncs"] == 19
    assert variant["per_step"]["d2h_bytes"] == 8 * 1024 * 1024 + 72
    assert variant["step_ms"] is None
    assert sum(site["calls"] for site in variant["sites"] if site["kind"] != "allocation") == 19
    shown = syncwatch("report", str(H200))
    assert shown.code == 0 and "process 442" in shown.out and "recorded by nsys" in shown.out
    judged = syncwatch("gate", str(H200), cwd=tmp_path)
    assert judged.code == 1 and "over policy" in judged.err
    assert syncwatch("gate", str(H200), "--max-syncs", "19", cwd=tmp_path).code == 0
    for forms in ("junit", "sarif", "github", "markdown"):
        assert syncwatch("report", str(H200), "--format", forms).code == 0


def two_ranks(path: Path, waits: tuple[int, int] = (1, 0), pids: tuple[int, int] = (100, 200)) -> Path:
    with NsysExport(path) as export:
        for pid, count in zip(pids, waits, strict=True):
            for step in range(2):
                begin = step * 100_000
                export.range(f"decode {step}", (begin, begin + 90_000), pid=pid)
                launch = export.call("cudaLaunchKernel", (begin, begin + 4_000), pid=pid)
                export.kernel((begin + 5_000, begin + 50_000), launch, pid=pid)
                for each in range(count):
                    late = begin + 10_000 + each * 20_000
                    export.call("cudaStreamSynchronize", (late, late + 15_000), pid=pid)
    return path


def refused(ended: Ended, code: int, *said: str) -> None:
    assert (ended.code, ended.out) == (code, ""), ended.err
    assert ended.err.startswith("error: ") and "Traceback" not in ended.err and ended.err.count("\n") == 1
    for words in said:
        assert words in ended.err


def test_every_process_is_judged_unless_one_is_named(tmp_path: Path) -> None:
    path = two_ranks(tmp_path / "trace.sqlite")
    ended = syncwatch("gate", path.name, "--step-range", "decode *", cwd=tmp_path)
    assert ended.code == 1 and "process 100" in ended.err
    only = syncwatch("gate", path.name, "--step-range", "decode *", "--variant", "process 200", cwd=tmp_path)
    assert only.code == 0, only.err
    report = json.loads(
        syncwatch("report", path.name, "--step-range", "decode *", "--format", "json", cwd=tmp_path).out
    )
    assert [(each["name"], each["steps"], each["per_step"]["syncs"]) for each in report["variants"]] == [
        ("process 100", 2, 1.0),
        ("process 200", 2, 0.0),
    ]
    # They are ranks of one program, not variants of it.
    assert report["comparison"] is None


def test_a_budget_that_the_trace_cannot_answer(tmp_path: Path) -> None:
    with NsysExport(tmp_path / "trace.sqlite") as export:
        export.call("cudaLaunchKernel", (0, 4_000))
        export.call("cudaDeviceSynchronize", (5_000, 9_000))
    (tmp_path / "syncwatch.toml").write_text("[budgets]\nsyncs = 9\ngpu_idle_us = 10\n")
    for options in ((), ("--strict",)):
        ended = syncwatch("gate", "trace.sqlite", *options, cwd=tmp_path)
        assert ended.code == 3 and "gpu_idle_us was not measured" in ended.out


@pytest.mark.parametrize("pids", [(100, 200), (300, 400)], ids=["same numbers", "other numbers"])
def test_two_traces_are_compared_process_by_process(tmp_path: Path, pids: tuple[int, int]) -> None:
    two_ranks(tmp_path / "before.sqlite", (2, 0))
    two_ranks(tmp_path / "after.sqlite", (1, 3), pids)
    ended = syncwatch(
        "compare", "before.sqlite", "after.sqlite", "--step-range", "decode *", "--format", "json", cwd=tmp_path
    )
    assert (ended.code, ended.err) == (0, "")
    found = [(each["before"], each["after"]) for each in json.loads(ended.out)["variants"]]
    assert [(old["per_step"]["syncs"], new["per_step"]["syncs"]) for old, new in found] == [(2.0, 1.0), (0.0, 3.0)]


def test_what_is_no_trace_ends_in_a_sentence(tmp_path: Path) -> None:
    path = two_ranks(tmp_path / "trace.sqlite")
    (tmp_path / "cut.sqlite").write_bytes(path.read_bytes()[:6000])
    (tmp_path / "empty.sqlite").write_bytes(b"")
    (tmp_path / "report1.nsys-rep").write_bytes(b"NSYS")
    before = sorted(tmp_path.iterdir())
    for command in ("report", "gate"):
        refused(syncwatch(command, "cut.sqlite", cwd=tmp_path), 2, "cut.sqlite", "nsys export")
        refused(syncwatch(command, "empty.sqlite", cwd=tmp_path), 2, "empty.sqlite")
        refused(syncwatch(command, "gone.sqlite", cwd=tmp_path), 2, "Cannot read gone.sqlite")
        refused(syncwatch(command, "trace.sqlite", "--step-range", "decod", cwd=tmp_path), 2, "'decode 0'")
        without_nsys = syncwatch(command, "report1.nsys-rep", cwd=tmp_path, env={"PATH": str(tmp_path)})
        refused(without_nsys, 3, "none on PATH")
    refused(syncwatch("compare", "trace.sqlite", "cut.sqlite", cwd=tmp_path), 2, "cut.sqlite")
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("target", ["gdn-prefill", "train.py"])
def test_steps_of_code_are_not_named_by_range(tmp_path: Path, target: str) -> None:
    refused(syncwatch("gate", target, "--step-range", "decode", cwd=tmp_path), 2, "syncwatch.step()")


@pytest.mark.skipif(not binaries(), reason="no nsys on PATH; `make test-nsys` gets one")
@pytest.mark.parametrize("binary", binaries())
def test_reports_go_through_a_real_nsys(binary: str, tmp_path: Path) -> None:
    """Without a GPU a report has nothing of CUDA; that this is said shows that it was exported and read."""
    path = {"PATH": f"{Path(binary).parent}:{os.environ['PATH']}"}
    (tmp_path / "bad.nsys-rep").write_bytes(b"no report " * 300)
    refused(syncwatch("report", "bad.nsys-rep", cwd=tmp_path, env=path), 3, "could not export bad.nsys-rep: ")
    options = ("profile", "--trace=nvtx", "--sample=none", "--cpuctxsw=none", "-o", "live")
    Nsys(binary).run(*options, sys.executable, "-c", "print(1)", cwd=tmp_path)
    before = sorted(tmp_path.iterdir())
    refused(syncwatch("report", "live.nsys-rep", cwd=tmp_path, env=path), 3, "live.nsys-rep holds nothing of CUDA")
    assert sorted(tmp_path.iterdir()) == before
