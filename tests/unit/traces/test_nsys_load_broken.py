"""Damaged exports, and files that never were one: a sentence, nothing written, never a traceback."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncwatch.errors import SyncwatchError
from syncwatch.model.codec import encode
from syncwatch.model.session import decode_session, faults_of
from syncwatch.traces.nesting import MAX_NESTED
from syncwatch.traces.nsys.dump import dump
from syncwatch.traces.nsys.load import load
from tests.helpers.nsys_files import PID, TID, NsysExport, global_id

RUNTIME = "CUPTI_ACTIVITY_KIND_RUNTIME"
H200 = Path(__file__).parents[2] / "data" / "h200_nsys_2024.2.3.sqlite"


def small(path: Path) -> Path:
    with NsysExport(path) as export:
        export.row("TARGET_INFO_GPU", vmId=1, id=0, name="NVIDIA H200", cuDevice=0)
        export.row("ThreadNames", nameId=export.text("worker"), priority=1, globalTid=global_id(PID, TID))
        export.row("ENUM_CUDA_MEM_KIND", id=0, name="CUDA_MEMOPR_MEMORY_KIND_PAGEABLE", label="Pageable")
        export.row("NVTX_EVENTS", start=1, eventType=75, text="domain", domainId=5, globalTid=global_id(PID, TID))
        for begin in range(0, 100_000, 10_000):
            launch = export.call("cudaLaunchKernel_v7000", (begin, begin + 400))
            export.kernel((begin + 500, begin + 900), launch)
            copy = export.call("cudaMemcpyAsync_v3020", (begin + 450, begin + 950))
            export.copy((begin + 900, begin + 940), copy, 2, (2, 0), 8)
            export.sync((begin + 960, begin + 990), export.call("cudaStreamSynchronize", (begin + 960, begin + 990)), 3)
            export.memset((begin + 960, begin + 970), export.call("cudaMemsetAsync", (begin + 955, begin + 957)), 64)
            export.range(export.text("step"), (begin, begin + 2000), domain=5)
    return path


def refusal(path: Path, step_range: str | None = None) -> str | None:
    """Return the sentence with which the file is refused; None if it is read, as something that can be saved."""
    before = sorted(path.parent.iterdir())
    try:
        session = load(path, step_range)
    except SyncwatchError as error:
        assert error.exit_code in (2, 3)
        assert str(error).endswith(".") and "\n" not in str(error)
        return str(error)
    finally:
        assert sorted(path.parent.iterdir()) == before
    assert not list(faults_of(session))
    assert decode_session(encode(session)) == session
    return None


@pytest.mark.parametrize(
    "content",
    [b"", b"SQLite format 3\x00", b"SQLite format 3\x00" + b"\xff" * 5000, b"no database " * 100],
    ids=["empty", "head", "garbage", "text"],
)
def test_what_is_no_database(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "trace.sqlite"
    path.write_bytes(content)
    assert refusal(path) is not None


def test_another_database(tmp_path: Path) -> None:
    path = tmp_path / "trace.sqlite"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE people (name TEXT)")
    assert "nothing of CUDA" in (refusal(path) or "")


@pytest.mark.parametrize(
    ("column", "value"),
    [("start", b"\x00blob"), ("start", "text"), ("end", 1.5), ("end", -5), ("nameId", None), ("globalTid", "thread")],
)
def test_rows_that_nsys_cannot_have_written(tmp_path: Path, column: str, value: Any) -> None:
    path = tmp_path / "trace.sqlite"
    with NsysExport(path) as export:
        export.call("cudaDeviceSynchronize", (1000, 2000))
        export.database.execute(f'UPDATE {RUNTIME} SET "{column}" = ?', (value,))
    assert f"1 of the rows of {RUNTIME}" in (refusal(path) or "")


def test_other_types_of_table(tmp_path: Path) -> None:
    path = tmp_path / "trace.sqlite"
    with NsysExport(path, without=[RUNTIME]) as export:
        export.kernel((100, 200))
        export.database.execute(f"CREATE VIEW {RUNTIME} AS SELECT 1 AS start, 2 AS 'end', 3 AS nameId, 4 AS globalTid")
    # A view is code; what it says is not read.
    assert refusal(path) is None
    assert load(path).recordings[0].syncs == ()


def test_negative_times_are_times(tmp_path: Path) -> None:
    path = tmp_path / "trace.sqlite"
    with NsysExport(path) as export:
        export.call("cudaDeviceSynchronize", (-2000, -1000))
    assert refusal(path) is None


def test_texts_that_are_no_unicode_and_texts_without_end(tmp_path: Path) -> None:
    path = tmp_path / "trace.sqlite"
    with NsysExport(path) as export:
        export.range(export.text(b"\xff\xfe\x00broken"), (0, 5000))
        export.range(export.text("x" * 5_000_000), (0, 4000))
        export.kernel((100, 200), name="k" * 1_000_000)
        export.row("StringIds", id=5000, value=b"\x80blob")
        export.range(5000, (0, 3000))
        export.range(99_999, (0, 3000))
    assert refusal(path) is None
    recording = load(path).recordings[0]
    assert max(len(each.name) for each in recording.ranges) == 4096
    assert [len(kernel.name) for kernel in recording.kernels or ()] == [4096]
    assert len(recording.ranges) == 3


def test_a_file_that_is_being_written(tmp_path: Path) -> None:
    path = small(tmp_path / "trace.sqlite")
    path.with_name("trace.sqlite-wal").write_bytes(b"pages")
    assert "still being written" in (refusal(path) or "")


def test_a_locked_file_is_read(tmp_path: Path) -> None:
    path = small(tmp_path / "trace.sqlite")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        assert refusal(path) is None
    finally:
        other.close()


def test_ranges_nested_without_end_do_not_recurse(tmp_path: Path) -> None:
    path = tmp_path / "trace.sqlite"
    depth = 1_000_000
    with NsysExport(path) as export:
        thread, name = global_id(PID, TID), export.text("deeper")
        export.database.executemany(
            'INSERT INTO NVTX_EVENTS (start, "end", eventType, textId, globalTid, domainId) VALUES (?, ?, 59, ?, ?, 0)',
            ((each, 3 * depth - each, name, thread) for each in range(depth)),
        )
        for each in range(100):
            begin = depth + 10 * each
            export.call("cudaDeviceSynchronize", (begin, begin + 5))
    (recording,) = load(path).recordings
    assert len(recording.ranges) == depth
    assert recording.range_stacks == (("deeper",) * MAX_NESTED,)


def test_one_correlation_for_everything_stays_small(tmp_path: Path) -> None:
    path = tmp_path / "trace.sqlite"
    with NsysExport(path) as export:
        for each in range(3000):
            export.call("cudaLaunchKernel", (10 * each, 10 * each + 5), correlation=0)
            export.kernel((10 * each, 10 * each + 5), 0)
    assert len(load(path).recordings[0].kernels or ()) == 3000


def test_flipped_bytes(tmp_path: Path) -> None:
    path = small(tmp_path / "trace.sqlite")
    whole = path.read_bytes()
    chance = random.Random(7)
    refused = 0
    for _ in range(2000):
        damaged = bytearray(whole)
        for _ in range(chance.choice((1, 1, 3, 30))):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        path.write_bytes(damaged)
        refused += refusal(path) is not None
    assert 0 < refused < 2000


def test_cut_files(tmp_path: Path) -> None:
    path = small(tmp_path / "trace.sqlite")
    whole = path.read_bytes()
    for length in range(0, len(whole), 17):
        path.write_bytes(whole[:length])
        refusal(path)


def test_flipped_bytes_of_a_real_export(tmp_path: Path) -> None:
    path = tmp_path / "trace.sqlite"
    whole = H200.read_bytes()
    chance = random.Random(8)
    for _ in range(150):
        damaged = bytearray(whole)
        for _ in range(chance.choice((1, 10, 200))):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        path.write_bytes(damaged)
        refusal(path)


def test_flipped_bytes_of_an_export_of_our_own(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    session = load(small(tmp_path / "trace.sqlite"))
    dump(session, [(None,) * len(recording.syncs) for recording in session.recordings], path)
    assert load(path) == session
    whole = path.read_bytes()
    chance = random.Random(9)
    for _ in range(600):
        damaged = bytearray(whole)
        for _ in range(chance.choice((1, 3, 30))):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        path.write_bytes(damaged)
        refusal(path)


VALUES = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-2, 200),
    st.floats(allow_nan=False),
    st.text(max_size=5),
    st.binary(max_size=5),
)
COLUMNS = {
    RUNTIME: ("start", "end", "globalTid", "correlationId", "nameId"),
    "CUPTI_ACTIVITY_KIND_KERNEL": (
        "start",
        "end",
        "deviceId",
        "streamId",
        "correlationId",
        "globalPid",
        "demangledName",
    ),
    "CUPTI_ACTIVITY_KIND_MEMCPY": ("start", "end", "deviceId", "streamId", "bytes", "copyKind", "srcKind", "dstKind"),
    "CUPTI_ACTIVITY_KIND_MEMSET": ("bytes", "memKind", "globalPid"),
    "CUPTI_ACTIVITY_KIND_SYNCHRONIZATION": ("start", "end", "deviceId", "streamId", "correlationId", "syncType"),
    "NVTX_EVENTS": ("start", "end", "eventType", "text", "textId", "globalTid", "domainId"),
    "StringIds": ("id", "value"),
    "ThreadNames": ("nameId", "priority", "globalTid"),
    "TARGET_INFO_GPU": ("id", "name", "cuDevice"),
    "ENUM_CUDA_MEM_KIND": ("id", "name"),
}
EDITS = st.sampled_from([(table, column) for table, columns in COLUMNS.items() for column in columns])


@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(EDITS, st.integers(1, 12), VALUES), min_size=1, max_size=6), st.sampled_from([None, "step", "*"])
)
def test_any_value_anywhere(tmp_path: Path, edits: list[Any], step_range: str | None) -> None:
    path = tmp_path / "trace.sqlite"
    path.unlink(missing_ok=True)
    small(path)
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA synchronous = OFF")
        for (table, column), row, value in edits:
            with suppress(sqlite3.IntegrityError):
                database.execute(f'UPDATE OR IGNORE {table} SET "{column}" = ? WHERE rowid = ?', (value, row))
        database.commit()
    refusal(path, step_range)
