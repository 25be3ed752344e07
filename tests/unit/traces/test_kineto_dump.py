"""What Perfetto is given: tracks, slices, flows and numbers as kineto writes them, and a key that it ignores."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from syncwatch.app.export import labels_of
from syncwatch.errors import SessionError, UsageError
from syncwatch.model.events import Call, CopyEvent, Direction, HostMemory, KernelEvent, RangeEvent, SyncKind
from syncwatch.model.session import Session
from syncwatch.pipeline import analysed
from syncwatch.traces.kineto.dump import dump
from syncwatch.traces.kineto.load import load
from syncwatch.traces.kineto.notation import microseconds, nanoseconds
from tests.helpers.fakes import MS, US, Stacks, frame, gdn_session, recording, session, sync

LAUNCH = Call(0, "cudaLaunchKernel", 5 * US + 1, 7 * US)
GRAPH = Call(0, "cuGraphLaunch", 10 * US, 12 * US)
READ = Call(1, "cudaMemcpyAsync", 20 * US, 21 * US)


def timeline() -> Session:
    stacks = Stacks()
    line = stacks.add(frame("n = x.item()", file="app/train.py", line=7))
    waits = [
        sync(0, stack=line, at=(20 * US, 40 * US), op="aten.item", api="cudaStreamSynchronize", thread=1),
        sync(0, stack=None, at=(50 * US, 60 * US), pacing=True, kind=SyncKind.EVENT),
        sync(0, stack=line, at=None),
    ]
    plain = recording(
        syncs=waits,
        stacks=stacks,
        kernels=[
            KernelEvent(0, 7, "gemm", 8 * US, 9 * US, LAUNCH),
            KernelEvent(0, 7, "node 1", 13 * US, 14 * US, GRAPH),
            KernelEvent(0, 9, "node 2", 13 * US, 15 * US, GRAPH, device=1),
            KernelEvent(None, 7, "Memset (Device)", 16 * US, 17 * US, memset_bytes=64),
        ],
        copies=[
            CopyEvent(
                0, 1, Direction.D2H, HostMemory.PINNED, 4, True, "aten.item", line, 7, 30 * US, 31 * US, READ, device=0
            )
        ],
    )
    named = replace(plain, threads=("MainThread", "worker"), ranges=(RangeEvent(1, "layer 0", 18 * US, 45 * US),))
    return session(named)


def written(tmp_path: Path, known: Session, **options: Any) -> dict[str, Any]:
    path = tmp_path / "run.json"
    dump(known, labels_of(analysed(known)), path, **options)
    found: dict[str, Any] = json.loads(path.read_text(), parse_float=Decimal)
    return found


def tracks(document: Mapping[str, Any]) -> dict[tuple[int, int], str]:
    rows = [row for row in document["traceEvents"] if row["ph"] == "M" and row["name"] == "thread_name"]
    return {(row["pid"], row["tid"]): row["args"]["name"] for row in rows}


def slices(document: Mapping[str, Any], category: str) -> list[dict[str, Any]]:
    return [row for row in document["traceEvents"] if row.get("cat") == category and row["ph"] == "X"]


def test_each_thing_lies_on_a_track_of_its_own(tmp_path: Path) -> None:
    document = written(tmp_path, timeline(), bubbles=[[(31 * US, 39 * US), None, None]])
    names = tracks(document)

    def lies(category: str) -> list[tuple[str, str]]:
        return [(row["name"], names[row["pid"], row["tid"]]) for row in slices(document, category)]

    assert lies("kernel") == [
        ("gemm", "GPU 0 stream 7"),
        ("node 1", "GPU 0 stream 7"),
        ("node 2", "GPU 1 stream 9"),
    ]
    assert lies("gpu_memset") == [("Memset (Device)", "GPU 0 stream 7")]
    assert lies("gpu_memcpy") == [("Memcpy DtoH (Device -> Pinned)", "GPU 0 stream 7")]
    assert lies("user_annotation") == [("layer 0", "worker")]
    assert lies("cuda_driver") == [("cuGraphLaunch", "MainThread")]
    assert lies("cuda_runtime") == [
        ("cudaLaunchKernel", "MainThread"),
        ("cudaMemcpyAsync", "worker"),
        ("cudaStreamSynchronize", "worker"),
        ("cudaEventSynchronize", "MainThread"),
    ]
    assert lies("syncwatch.sync") == [
        ("SW101 app/train.py:7", "syncs of worker"),
        ("pacing", "syncs of MainThread"),
    ]
    assert lies("syncwatch.bubble") == [("bubble after SW101 app/train.py:7", "GPU 0 bubbles")]


def test_tracks_stand_in_the_order_in_which_they_are_read(tmp_path: Path) -> None:
    document = written(tmp_path, timeline(), bubbles=[[(31 * US, 39 * US), None, None]])
    assert [name for _, name in sorted(tracks(document).items())] == [
        "MainThread",
        "syncs of MainThread",
        "worker",
        "syncs of worker",
        "GPU 0 stream 7",
        "GPU 1 stream 9",
        "GPU 0 bubbles",
    ]


def test_the_call_of_a_wait_begins_where_the_copy_call_before_it_ended(tmp_path: Path) -> None:
    rows = slices(written(tmp_path, timeline()), "cuda_runtime")
    (waited,) = (row for row in rows if row["name"] == "cudaStreamSynchronize")
    (asked,) = (row for row in rows if row["name"] == "cudaMemcpyAsync")
    (whole,) = (row for row in slices(written(tmp_path, timeline()), "syncwatch.sync") if row["name"] != "pacing")
    assert waited["ts"] == asked["ts"] + asked["dur"]
    assert (whole["ts"], whole["ts"] + whole["dur"]) == (asked["ts"], waited["ts"] + waited["dur"])


def test_a_sync_says_what_it_was(tmp_path: Path) -> None:
    about = slices(written(tmp_path, timeline()), "syncwatch.sync")[0]["args"]
    assert about.items() >= {"op": "aten.item", "api": "cudaStreamSynchronize", "explicit": False}.items()
    assert about["title"]


def test_a_flow_leads_from_each_call_to_its_work(tmp_path: Path) -> None:
    document = written(tmp_path, timeline())
    begins = {row["id"]: row for row in document["traceEvents"] if row["ph"] == "s"}
    ends = {row["id"]: row for row in document["traceEvents"] if row["ph"] == "f"}
    assert begins.keys() == ends.keys()
    assert {row["cat"] for row in (*begins.values(), *ends.values())} == {"ac2g"}
    works = {(row["tid"], row["ts"]): row["name"] for row in document["traceEvents"] if row["ph"] == "X"}
    pairs = [(works[begins[key]["tid"], begins[key]["ts"]], works[ends[key]["tid"], ends[key]["ts"]]) for key in begins]
    assert pairs == [
        ("cudaLaunchKernel", "gemm"),
        ("cuGraphLaunch", "node 1"),
        ("cuGraphLaunch", "node 2"),
        ("cudaMemcpyAsync", "Memcpy DtoH (Device -> Pinned)"),
    ]


def test_correlations_join_calls_and_work_as_in_kinetos_files(tmp_path: Path) -> None:
    document = written(tmp_path, timeline())
    calls = {
        row["args"]["correlation"]: row["name"]
        for category in ("cuda_runtime", "cuda_driver")
        for row in slices(document, category)
        if "correlation" in row["args"]
    }
    assert {row["name"]: calls[row["args"]["correlation"]] for row in slices(document, "kernel")} == {
        "gemm": "cudaLaunchKernel",
        "node 1": "cuGraphLaunch",
        "node 2": "cuGraphLaunch",
    }


def test_variants_are_processes_that_begin_at_zero(tmp_path: Path) -> None:
    known = gdn_session()
    document = written(tmp_path, known)
    rows = [row for row in document["traceEvents"] if row["ph"] == "X"]
    assert {min(row["ts"] for row in rows if row["pid"] == pid) for pid in {row["pid"] for row in rows}} == {Decimal(0)}
    names = [row["args"]["name"] for row in document["traceEvents"] if row["name"] == "process_name"]
    assert names == ["naive", "precomputed"]
    # Perfetto takes one number in two processes for one thread.
    keys = [key[1] for key in tracks(document)]
    assert len(keys) == len(set(keys))


def test_events_stand_once(tmp_path: Path) -> None:
    document = written(tmp_path, timeline())
    own = json.dumps(document["syncwatch"], default=str)
    for name in ("gemm", "layer 0", "cudaLaunchKernel", "worker"):
        assert name not in own


def test_what_has_no_time_is_kept_beside_the_rows(tmp_path: Path) -> None:
    known = timeline()
    document = written(tmp_path, known)
    assert [place for place, _ in document["syncwatch"]["recordings"][0]["untimed_syncs"]] == [2]
    assert load(tmp_path / "run.json") == known


@pytest.mark.parametrize(
    ("ns", "text"),
    [(0, "0.000"), (1, "0.001"), (-1, "-0.001"), (1_234_567, "1234.567"), (2**62, "4611686018427387.904")],
)
def test_a_time_is_written_exactly(ns: int, text: str) -> None:
    assert bytes(microseconds(ns)) == text.encode()
    assert nanoseconds(Decimal(text)) == ns


@pytest.mark.parametrize("odd", [None, "1", True, Decimal("NaN"), Decimal("1e400"), 2**80, [1], 1.5])
def test_what_is_no_time_is_none(odd: object) -> None:
    assert nanoseconds(odd) is None


def test_one_session_always_gives_the_same_packed_bytes(tmp_path: Path) -> None:
    known = gdn_session()
    paths = [tmp_path / "a.json.gz", tmp_path / "b.json.gz", tmp_path / "plain.json"]
    for path in paths:
        dump(known, labels_of(analysed(known)), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert gzip.decompress(paths[0].read_bytes()) == paths[2].read_bytes()


def test_a_failed_export_leaves_the_old_file_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.json"
    path.write_text("old")
    known = gdn_session()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(UsageError, match=r"Cannot write .*No space left on device\. Give a file"):
        dump(known, labels_of(analysed(known)), path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    known = gdn_session()
    with pytest.raises(UsageError, match="Cannot write"):
        dump(known, labels_of(analysed(known)), tmp_path / "none" / "run.json")


def test_steps_are_not_asked_of_an_export(tmp_path: Path) -> None:
    written(tmp_path, gdn_session())
    with pytest.raises(UsageError, match="Leave --step-range out"):
        load(tmp_path / "run.json", "step *")


def test_an_export_whose_keys_were_put_behind_the_rows_is_still_ours(tmp_path: Path) -> None:
    document = written(tmp_path, gdn_session())
    path = tmp_path / "turned.json"
    keys = [key for key in document if key != "syncwatch"]
    path.write_text(json.dumps({key: document[key] for key in (*keys, "syncwatch")}, default=float))
    assert load(path) == gdn_session()


def test_a_step_keeps_its_number_and_whether_it_warms_up(tmp_path: Path) -> None:
    rows = slices(written(tmp_path, gdn_session()), "syncwatch.step")[:2]
    assert [(row["name"], row["args"], row["dur"]) for row in rows] == [
        ("step 0 (warm-up)", {"step": 0, "warmup": True}, Decimal(4 * MS) / 1000),
        ("step 1", {"step": 1, "warmup": False}, Decimal(4 * MS) / 1000),
    ]


@pytest.mark.parametrize("place", [-1, 4, 2**63])
def test_a_place_outside_the_list_is_refused_with_a_sentence(tmp_path: Path, place: int) -> None:
    document = written(tmp_path, timeline())
    document["syncwatch"]["recordings"][0]["untimed_syncs"][0][0] = place
    (tmp_path / "run.json").write_text(json.dumps(document, default=float))
    with pytest.raises(SessionError, match=r"\.$"):
        load(tmp_path / "run.json")
