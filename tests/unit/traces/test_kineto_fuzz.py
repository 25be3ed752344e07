"""Whatever a file holds, it is read as a sound session or refused with a sentence; more than 10,000 inputs."""

from __future__ import annotations

import copy
import gzip
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncwatch.app.export import labels_of
from syncwatch.errors import SyncwatchError
from syncwatch.model.codec import encode
from syncwatch.model.session import faults_of
from syncwatch.pipeline import analysed, report_of
from syncwatch.traces.kineto.dump import dump
from syncwatch.traces.kineto.load import load
from tests.helpers.fakes import kernel, recording, session, steps, sync

FUZZED = settings(
    max_examples=2_600, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def check(folder: Path, content: bytes) -> None:
    """Read `content`: it gives a session that can be reported and saved, or a sentence; nothing is written."""
    path = folder / "trace.json"
    path.write_bytes(content)
    before = sorted(folder.iterdir())
    try:
        found = load(path)
    except SyncwatchError as refused:
        message = str(refused)
        assert message.endswith(".")
        assert len(message) < 600
    else:
        assert not list(faults_of(found))
        assert encode(found)
        assert report_of(found).target == found.target
    assert sorted(folder.iterdir()) == before
    assert path.read_bytes() == content


def row(cat: str, name: str, ts: float, pid: Any = 4, tid: Any = 5, **args: Any) -> dict[str, Any]:
    return {"ph": "X", "cat": cat, "name": name, "pid": pid, "tid": tid, "ts": ts, "dur": 9.5, "args": args}


TRACE = [
    {"ph": "M", "name": "thread_name", "pid": 4, "tid": 5, "args": {"name": "main"}},
    row("user_annotation", "ProfilerStep#1", 0),
    row("python_function", "app/train.py(4): step", 1),
    row("cpu_op", "aten::item", 2, **{"External id": 1}),
    row("cuda_runtime", "cudaMemcpyAsync", 3, correlation=1),
    row("cuda_runtime", "cudaStreamSynchronize", 4, correlation=2),
    row("cuda_runtime", "cudaGraphLaunch", 5, correlation=3),
    row("gpu_memcpy", "Memcpy DtoH (Device -> Pageable)", 4, 0, 7, correlation=1, device=0, stream=7, bytes=4),
    row("cuda_sync", "Stream Sync", 4, 0, 7, correlation=2, device=0, stream=7),
    row("kernel", "k1", 6, 0, 7, correlation=3, device=0, stream=7),
    row("kernel", "k2", 7, 1, 7, correlation=3, device=1, stream=7),
    row("gpu_memset", "Memset (Device)", 8, 0, 7, correlation=9, device=0, stream=7, bytes=64),
    {"ph": "s", "id": 3, "cat": "ac2g", "name": "ac2g", "pid": 4, "tid": 5, "ts": 5},
]
KEYS: dict[str, Any] = {
    "deviceProperties": [{"name": "GPU"}],
    "distributedInfo": {"rank": 1},
    "baseTimeNanoseconds": 1_000_000_000,
}


def theirs() -> bytes:
    return json.dumps(KEYS | {"traceEvents": TRACE, "traceName": "x.json"}, indent=1).encode()


def ours() -> bytes:
    plain = recording(
        syncs=[sync(0, at=(5_000, 9_000)), sync(1, stack=None)],
        kernels=[kernel((1_000, 4_000), step=0)],
        steps=steps(2),
    )
    known = session(plain)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "run.json"
        dump(known, labels_of(analysed(known)), path)
        return path.read_bytes()


FILES = (theirs(), ours())

ODD: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(
        [None, True, -1, 0, 2**31, 2**63, 2**64, -(2**70), 1e300, -0.0, 1.5, "", "x", "5", "\ud800", "\x00", [], {}]
    ),
    st.sampled_from([float("nan"), float("inf"), "y" * 5_000, [[[[]]]], {"name": []}, [1, "a", None]]),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
).map(copy.deepcopy)
BITS: st.SearchStrategy[bytes] = st.one_of(
    st.binary(max_size=6),
    st.sampled_from(
        [b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"\xff", b"\n", b"0", b"-", b"e9", b"NaN", b"\\ud800", b"},{"]
    ),
)


@FUZZED
@given(st.sampled_from(FILES), st.data())
def test_a_file_with_bytes_changed(folder: Path, content: bytes, data: st.DataObject) -> None:
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content)))
        end = start + data.draw(st.sampled_from((0, 0, 1, 2, 7, 60)))
        content = content[:start] + data.draw(BITS) + content[end:]
    check(folder, content)


@FUZZED
@given(st.sampled_from(FILES), st.floats(0, 1), st.booleans(), BITS)
def test_a_file_cut_off(folder: Path, content: bytes, part: float, packed: bool, more: bytes) -> None:
    content = gzip.compress(content, 1, mtime=0) if packed else content
    check(folder, content[: int(part * len(content))] + more)


@FUZZED
@given(st.data())
def test_rows_of_the_wrong_types(folder: Path, data: st.DataObject) -> None:
    rows: list[Any] = [dict(each) | {"args": dict(each.get("args", {}))} for each in TRACE]
    for _ in range(data.draw(st.integers(1, 6))):
        target = rows[data.draw(st.integers(0, len(rows) - 1))]
        if isinstance(target, dict) and data.draw(st.booleans()) and isinstance(target.get("args"), dict):
            target = target["args"]
        if isinstance(target, dict) and target:
            target[data.draw(st.sampled_from(sorted(target)))] = data.draw(ODD)
    if data.draw(st.booleans()):
        rows[data.draw(st.integers(0, len(rows) - 1))] = data.draw(ODD)
    keys = dict(KEYS)
    keys[data.draw(st.sampled_from((*sorted(keys), "syncwatch", "else")))] = data.draw(ODD)
    check(folder, json.dumps(keys | {"traceEvents": rows}).encode())


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to everything in a JSON document."""
    yield path
    if isinstance(value, dict):
        for key, each in value.items():
            yield from places(each, (*path, key))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from places(each, (*path, index))


OWN = json.loads(FILES[1])
PLACES = [place for place in places(OWN) if place]


@FUZZED
@given(st.lists(st.tuples(st.sampled_from(PLACES), ODD | st.just("DELETE")), min_size=1, max_size=3))
def test_an_export_of_ours_with_values_changed(folder: Path, changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    document = json.loads(FILES[1])
    for place, value in changes:
        target = document
        try:
            for key in place[:-1]:
                target = target[key]
            if value == "DELETE":
                del target[place[-1]]
            else:
                target[place[-1]] = value
        except (LookupError, TypeError):
            continue
    check(folder, json.dumps(document).encode())


def test_files_of_the_fuzz_are_read_as_they_are(folder: Path) -> None:
    for content in FILES:
        check(folder, content)
        (folder / "trace.json").write_bytes(content)
        assert load(folder / "trace.json").recordings[0].kernels


def test_names_of_a_million_letters_and_frames_of_no_end(folder: Path) -> None:
    long = "z" * 1_000_000
    rows = [
        row("python_function", f"{long}.py(4): {long}", 1),
        row("cuda_runtime", "cudaStreamSynchronize", 4),
        row("cuda_runtime", long, 5),
    ]
    check(folder, json.dumps({"traceEvents": rows}).encode())
