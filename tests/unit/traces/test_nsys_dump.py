"""The rows that nsys gets: calls once, waits as ranges with cause and line, what has no time kept apart."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from syncwatch.app.export import TraceFormat, export
from syncwatch.errors import SessionError, UsageError
from syncwatch.model.events import Call, Direction, KernelEvent, RangeEvent, Step, SyncKind
from syncwatch.model.session import DeviceKind, RecordedBy, Session
from syncwatch.pipeline import analysed
from tests.helpers.fakes import MS, US, Stacks, copy, frame, kernel, recording, session, steps, sync
from tests.helpers.nsys_sessions import every_event, lacking


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "run.sqlite"


def exported(known: Session, file: Path) -> None:
    export(analysed(known), TraceFormat.NSYS, file)


def rows(file: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(file)) as database:
        return database.execute(query).fetchall()


def ranges(file: Path, domain: int = 0) -> list[str]:
    query = "SELECT value FROM NVTX_EVENTS JOIN StringIds ON id = textId WHERE eventType = 59 AND domainId = "
    return [name for (name,) in rows(file, f"{query}{domain} ORDER BY eventId")]


def calls(file: Path) -> list[tuple[str, int, int]]:
    query = (
        "SELECT value, start, end FROM CUPTI_ACTIVITY_KIND_RUNTIME JOIN StringIds ON id = nameId ORDER BY start, end"
    )
    return rows(file, query)


def test_a_graph_launch_is_one_call_for_all_its_kernels(file: Path) -> None:
    launch = Call(0, "cudaGraphLaunch", 10, 20)
    graph = [KernelEvent(None, 7, name, 30, 40, launch) for name in "abc"]
    alone = KernelEvent(None, 7, "d", 50, 60, Call(0, "cudaGraphLaunch", 21, 25))

    exported(session(recording(kernels=[*graph, alone])), file)

    assert [name for name, _, _ in calls(file)] == ["cudaGraphLaunch", "cudaGraphLaunch"]
    found = rows(file, "SELECT correlationId FROM CUPTI_ACTIVITY_KIND_KERNEL ORDER BY rowid")
    assert found[0] == found[1] == found[2] != found[3]


def test_correlation_ids_are_unique_over_all_variants(file: Path) -> None:
    one = recording(kernels=[kernel((30, 40), asked=1)], syncs=[sync(at=(2_000, 3_000))])

    exported(session(one, replace(one, variant="precomputed")), file)

    found = rows(file, "SELECT correlationId FROM CUPTI_ACTIVITY_KIND_RUNTIME")
    assert len(found) == len(set(found)) == 4


def test_the_call_that_waits_begins_after_the_copy_call_of_the_same_read(file: Path) -> None:
    read = copy(at=(1_500, 1_600), asked=1_000)

    exported(session(recording(copies=[read], syncs=[sync(at=(1_000, 5_000))])), file)

    assert calls(file) == [("cudaMemcpyAsync", 1_000, 2_000), ("cudaStreamSynchronize", 2_000, 5_000)]
    assert rows(file, "SELECT start, end FROM CUPTI_ACTIVITY_KIND_SYNCHRONIZATION") == [(2_000, 5_000)]
    assert rows(file, "SELECT start, end FROM NVTX_EVENTS WHERE domainId = 1 AND eventType = 59") == [(1_000, 5_000)]


@pytest.mark.parametrize("begun", [1_000, 2_000])
def test_a_wait_inside_a_copy_call_is_no_second_call(file: Path, begun: int) -> None:
    read = copy(at=(3_000, 4_000), asked=1_000)

    exported(session(recording(copies=[read], syncs=[sync(kind=SyncKind.COPY, at=(begun, 4_500))])), file)

    assert calls(file) == [("cudaMemcpyAsync", 1_000, 4_500)]
    assert rows(file, "SELECT * FROM CUPTI_ACTIVITY_KIND_SYNCHRONIZATION") == []
    (facts,) = rows(file, "SELECT value FROM SYNCWATCH_SESSION WHERE key = 'recording 0'")
    assert json.loads(facts[0])["call_lengths_ns"] == {"1": 1_000}


def test_each_wait_is_one_range_with_its_cause_and_line(file: Path) -> None:
    stacks = Stacks()
    line = stacks.add(frame("x.tolist()", "x.tolist()", file="app/serve.py", line=42))
    waits = [
        sync(at=(0, 10), stack=line, op="aten._to_copy"),
        sync(at=(20, 30), stack=None),
        sync(at=(40, 50), stack=line, pacing=True, kind=SyncKind.DEVICE),
    ]

    exported(session(recording(syncs=waits, stacks=stacks)), file)

    first, without, pacing = ranges(file, domain=1)
    assert first.startswith("SW1") and first.endswith(" app/serve.py:42")
    assert without.endswith(" <no Python line>") and pacing == "pacing"
    (payload, *_) = rows(file, "SELECT jsonText FROM NVTX_EVENTS WHERE domainId = 1 AND eventType = 59")
    said = json.loads(payload[0])
    assert (said["code"], said["line"], said["function"], said["kind"]) == (first[:5], 42, "step", "stream")
    assert rows(file, "SELECT text FROM NVTX_EVENTS WHERE eventType = 75") == [("syncwatch",)]


def test_a_variant_and_steps_without_ranges_get_them(file: Path) -> None:
    marked = replace(recording(steps=steps(2)), ranges=(RangeEvent(0, "naive", 0, 2 * MS),))
    marked = replace(marked, ranges=(*marked.ranges, RangeEvent(0, "syncwatch.step 1", MS, 2 * MS)))

    exported(session(marked, recording("precomputed", steps=steps(1))), file)

    assert ranges(file) == ["naive", "syncwatch.step 1", "syncwatch.step 0", "precomputed", "syncwatch.step 0"]
    assert rows(file, "SELECT count(*) FROM SYNCWATCH_EVENTS WHERE kind = 'range'") == [(2,)]


def test_variants_are_threads_of_one_process_and_recordings_of_other_programs_are_processes(file: Path) -> None:
    two = [replace(recording(name, steps=steps(1)), threads=("MainThread", "worker", "worker")) for name in ("a", "b")]
    exported(session(*two), file)
    assert rows(file, "SELECT count(*), count(DISTINCT globalTid) FROM ThreadNames") == [(3, 3)]
    assert rows(file, "SELECT name FROM PROCESSES") == [("python",)]

    exported(session(*two, recorder=RecordedBy.NSYS), file)
    assert rows(file, "SELECT count(*), count(DISTINCT globalTid) FROM ThreadNames") == [(6, 6)]
    assert rows(file, "SELECT name FROM PROCESSES") == [("a",), ("b",)]
    assert rows(file, "SELECT count(*) FROM NVTX_EVENTS WHERE eventType = 75") == [(2,)]


def test_the_virtual_device_is_named_as_such(file: Path) -> None:
    exported(session(recording(), device=DeviceKind.VIRTUAL), file)
    assert rows(file, "SELECT name FROM TARGET_INFO_GPU") == [("NVIDIA H200 (virtual, modelled)",)]

    exported(session(recording()), file)
    assert rows(file, "SELECT name FROM TARGET_INFO_GPU") == [("NVIDIA H200",)]


def test_memory_of_copies_is_numbered_as_nsys_does(file: Path) -> None:
    copies = [copy(at=(10, 20), direction=each) for each in Direction]

    exported(session(recording(copies=copies)), file)

    found = rows(file, "SELECT copyKind, srcKind, dstKind FROM CUPTI_ACTIVITY_KIND_MEMCPY")
    # Pageable is 0, the device 2; CUPTI itself counts otherwise.
    assert found == [(1, 0, 2), (2, 2, 0), (8, 2, 2)]


def test_what_has_no_time_is_kept_and_on_no_time_line(file: Path) -> None:
    exported(session(recording(syncs=[sync(3, thread=0)], copies=[copy(3, size=77)], kernels=None)), file)

    kept = rows(file, "SELECT kind, eventId, json_extract(details, '$.step') FROM SYNCWATCH_EVENTS")
    assert kept == [("sync", None, 3), ("copy", None, 3)]
    assert not calls(file) and not ranges(file) and not ranges(file, domain=1)


def test_each_event_points_at_its_own_row(file: Path) -> None:
    exported(every_event(), file)

    (known,) = every_event().recordings
    names = rows(
        file,
        "SELECT value FROM SYNCWATCH_EVENTS e JOIN CUPTI_ACTIVITY_KIND_KERNEL k ON k.rowid = e.eventId "
        "JOIN StringIds s ON s.id = k.demangledName WHERE kind = 'kernel' ORDER BY e.rowid",
    )
    assert [name for (name,) in names] == [each.name for each in known.kernels or () if each.memset_bytes is None]
    lengths = rows(
        file,
        "SELECT end - start FROM SYNCWATCH_EVENTS e JOIN NVTX_EVENTS n ON n.eventId = e.eventId "
        "WHERE kind = 'sync' ORDER BY e.rowid",
    )
    assert [ns for (ns,) in lengths] == [(each.end_ns or 0) - (each.start_ns or 0) for each in known.syncs]
    sizes = rows(
        file,
        "SELECT bytes FROM SYNCWATCH_EVENTS e JOIN CUPTI_ACTIVITY_KIND_MEMCPY c ON c.rowid = e.eventId "
        "WHERE kind = 'copy' ORDER BY e.rowid",
    )
    assert [size for (size,) in sizes] == [each.bytes for each in known.copies or ()]


@pytest.mark.parametrize("lacks", lacking())
def test_every_table_is_there_whatever_is_lacking(file: Path, lacks: str) -> None:
    exported(every_event(), file)
    full = rows(file, "SELECT sql FROM sqlite_master ORDER BY name")

    exported(lacking()[lacks], file)

    assert rows(file, "SELECT sql FROM sqlite_master ORDER BY name") == full
    assert rows(file, "PRAGMA integrity_check") == [("ok",)]


def test_the_same_session_gives_the_same_bytes_and_no_journal(file: Path, tmp_path: Path) -> None:
    exported(every_event(), file)
    exported(every_event(), tmp_path / "again.sqlite")

    assert file.read_bytes() == (tmp_path / "again.sqlite").read_bytes()
    assert rows(file, "PRAGMA journal_mode") == [("delete",)]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["again.sqlite", "run.sqlite"]


def test_no_folder_of_the_target_goes_along(file: Path) -> None:
    exported(session(recording(), target="/home/someone/project/train.py"), file)

    assert b"someone" not in file.read_bytes()
    (value,) = rows(file, "SELECT value FROM SYNCWATCH_SESSION WHERE key = 'session'")
    assert json.loads(value[0])["target"] == "train.py"


def test_names_that_are_no_unicode_are_written_all_the_same(file: Path) -> None:
    exported(session(recording(kernels=[kernel((1, 2), name="bad\udcff")], notes=("odd \udcff",))), file)

    assert ("bad?",) in rows(file, "SELECT value FROM StringIds")


def test_nsys_reads_no_other_suffix(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"has to end in \.sqlite, as run\.sqlite"):
        exported(session(recording()), tmp_path / "run.db")


@pytest.mark.parametrize("size", [2**63, 2**70])
def test_what_no_database_holds_is_refused_and_nothing_is_written(file: Path, size: int) -> None:
    file.write_bytes(b"kept")

    with pytest.raises(SessionError, match="more than 64 bits"):
        exported(session(recording(copies=[copy(at=(1, 2), size=size)])), file)

    assert [each.name for each in file.parent.iterdir()] == ["run.sqlite"] and file.read_bytes() == b"kept"


def test_a_folder_in_the_way_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "run.sqlite").mkdir()
    with pytest.raises(UsageError, match="Cannot write"):
        exported(session(recording()), tmp_path / "run.sqlite")
    with pytest.raises(UsageError, match="Cannot write"):
        exported(session(recording()), tmp_path / "nowhere" / "run.sqlite")
    assert [each.name for each in tmp_path.iterdir()] == ["run.sqlite"]


def test_steps_keep_their_own_clock(file: Path) -> None:
    late = tuple(Step(index, False, 10**18 + index * US, 10**18 + (index + 1) * US) for index in range(2))

    exported(session(recording(steps=late)), file)

    assert rows(file, "SELECT min(start), max(end) FROM NVTX_EVENTS WHERE eventType = 59") == [(1_000, 3_000)]
    (facts,) = rows(file, "SELECT value FROM SYNCWATCH_SESSION WHERE key = 'recording 0'")
    assert json.loads(facts[0])["shift_ns"] == 1_000 - 10**18
    assert json.loads(facts[0])["recording"]["steps"][0]["start_ns"] == 10**18
