"""A trace file is read block by block, whatever its layout; what is no trace is refused with a sentence."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from syncwatch.errors import SessionError
from syncwatch.traces.kineto import read_file
from syncwatch.traces.kineto.read_file import Row, Trace


def read(path: Path, content: bytes) -> tuple[Trace, list[Row]]:
    path.write_bytes(content)
    trace = Trace(path)
    return trace, list(trace.rows())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trace.json"


@pytest.mark.parametrize("block", [1, 7, 64, 1000, 1 << 20])
@pytest.mark.parametrize("indent", [None, 0, 2])
def test_rows_do_not_depend_on_blocks_or_layout(
    path: Path, monkeypatch: pytest.MonkeyPatch, block: int, indent: int | None
) -> None:
    monkeypatch.setattr(read_file, "_BLOCK", block)
    names = [f'row {number} }}, {{ [ " \\ é' for number in range(30)]
    rows = [{"name": name, "args": {"a": [{"b": 1}, {"c": [{}, {}]}]}, "ts": 1.25} for name in names]
    document = {"first": {"traceEvents": [{}, {}]}, "traceEvents": rows, "last": [{"x": 1}, {"y": 2}]}
    trace, found = read(path, json.dumps(document, indent=indent).encode())
    assert [row.name for row in found] == names
    assert {key: json.loads(bytes(value)) for key, value in trace.keys.items()} == {
        "first": document["first"],
        "last": document["last"],
    }
    assert trace.left_out == 0


def test_a_packed_file_is_known_by_its_bytes_not_its_name(path: Path) -> None:
    _, rows = read(path, gzip.compress(b'{"traceEvents": [{"name": "a"}]}'))
    assert [row.name for row in rows] == ["a"]


def test_a_bare_array_is_a_trace(path: Path) -> None:
    _, rows = read(path, b' [{"name": "a"}, {"name": "b"}]')
    assert [row.name for row in rows] == ["a", "b"]


def test_what_is_no_row_is_counted(path: Path) -> None:
    odd = b'{"name": 3}, 7, null, [{}, {}], {"ts": {}}, {"name": "\xff"}, {"pid": [1]}'
    trace, rows = read(path, b'{"traceEvents": [{"name": "a"}, ' + odd + b', {"name": "b"}]}')
    assert [row.name for row in rows] == ["a", "b"]
    assert trace.left_out == 7


def test_a_block_never_holds_the_whole_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_file, "_BLOCK", 1000)
    path.write_text(json.dumps({"traceEvents": [{"name": "x" * 50}] * 1000}))
    sizes = [len(block) for block in Trace(path)._blocks(mended=False)]
    assert sum(sizes) == 1000
    assert max(sizes) < 40


OLD = b"""{
  "schemaVersion": 1,
  "traceEvents": [
  {
    "name": "process_name", "ph": "M", "ts": 1, "pid": 1, "tid": 0,
    "args": {
      "name": "python"
    }
  },
  {
    "ph": "X", "cat": "cpu_op", "name": "said "hi", "pid": \\ and \\"so\\" on", "pid": 1, "tid": 2,
    "ts": 5, "dur": 6,
    "args": {
      "memory bandwidth (GB/s)": inf, "occupancy": -nan
    }
  },
  {
    "ph": "f", "id": 1, "pid": 0, "tid": 7, "ts": 1,
    "cat": "ac2g", "name": "ac2g", "bp": "e"
  },
  {
    "ph": "X",
    "name": "C:\\Users "x" \xff \\ud800",
    "ts": NaN,
    "args": {}
  }
  ]
}
"""


def test_what_old_kineto_wrote_is_mended(path: Path) -> None:
    trace, rows = read(path, OLD)
    assert [row.name for row in rows] == [
        "process_name",
        'said "hi", "pid": \\ and "so" on',
        "ac2g",
        'C:\\Users "x" \ufffd ?',
    ]
    assert [row.pid for row in rows] == [1, 1, 0, None]
    assert trace.left_out == 0


def test_rows_before_the_broken_one_are_not_read_twice(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_file, "_BLOCK", 100)
    good = b"".join(b'  {\n    "name": "%d"\n  },\n' % number for number in range(100))
    _, rows = read(path, OLD.replace(b'"traceEvents": [\n', b'"traceEvents": [\n' + good))
    assert [row.name for row in rows[:100]] == [str(number) for number in range(100)]
    assert len(rows) == 104


DEEP = 1_000_000


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is cut off"),
        (b"{", "it is cut off"),
        (b"7", "Expected `object`"),
        (b"{}", "it has no traceEvents"),
        (b'{"traceEvents": 7}', "it has no traceEvents"),
        (b'{"traceEvents": [{"name": "a"}', "it is cut off"),
        (b'{"traceEvents": [{"name": "a"}]} {}', "trailing"),
        (b'{"traceEvents": [{"name": "a"}}]}', "malformed"),
        (b"\xff\xfe\x00", "malformed"),
        (b"SQLite format 3\x00", "malformed"),
        (b"[" * DEEP, "nested too deep"),
        (b'{"traceEvents": [' + b'{"args":' * DEEP, "nested too deep"),
        (b'{"before": ' + b"[" * DEEP + b"]" * DEEP + b', "traceEvents": []}', "nested too deep"),
        (gzip.compress(b'{"traceEvents": []}', mtime=0)[:-9], "packed and broken"),
        (b"\x1f\x8bnot packed at all", "packed and broken"),
    ],
)
def test_what_is_no_trace_is_refused_with_a_sentence(path: Path, content: bytes, words: str) -> None:
    with pytest.raises(SessionError, match=rf"trace\.json .*{words}.*\. Give a \.json or .* wrote\.$"):
        read(path, content)


def test_a_folder_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    for path, said in ((tmp_path, "is a folder"), (tmp_path / "none.json", "Cannot read")):
        with pytest.raises(SessionError, match=said):
            Trace(path)


def test_a_message_holds_nothing_of_the_file(path: Path) -> None:
    with pytest.raises(SessionError) as refused:
        read(path, b'{"traceEvents": [{"name": "secret"} "secret"]}')
    assert "secret" not in str(refused.value)
