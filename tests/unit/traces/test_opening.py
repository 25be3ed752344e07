"""Files are known by what is in them; reports of nsys go through the nsys on PATH."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import socket
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from syncwatch.app.report import write_run
from syncwatch.errors import NotMeasuredError, SessionError, SyncwatchError, UsageError
from syncwatch.model.codec import encode
from syncwatch.model.session import RecordedBy
from syncwatch.pipeline import analysed
from syncwatch.traces import files
from syncwatch.traces.opening import is_recording_file, open_session
from tests.helpers.fakes import gdn_session
from tests.helpers.nsys_files import NsysExport

TRACE: dict[str, Any] = {
    "traceEvents": [
        {"ph": "X", "cat": "cuda_runtime", "name": "cudaDeviceSynchronize", "pid": 1, "tid": 1, "ts": 1, "dur": 5},
        {"ph": "X", "cat": "user_annotation", "name": "decode", "pid": 1, "tid": 1, "ts": 0, "dur": 9},
    ]
}


def nsys_export(path: Path) -> Path:
    with NsysExport(path) as export:
        export.call("cudaDeviceSynchronize", (1000, 2000))
        export.range("decode", (500, 3000))
    return path


def test_the_name_of_a_file_says_nothing(tmp_path: Path) -> None:
    nsys_export(tmp_path / "nsys.json")
    (tmp_path / "chrome.sqlite").write_text(json.dumps(TRACE))
    (tmp_path / "packed.json").write_bytes(gzip.compress(json.dumps(TRACE).encode()))
    (tmp_path / "late.json").write_text(" " + json.dumps({"metadata": "x" * 2_000_000, **TRACE}))
    (tmp_path / "list.json").write_text(json.dumps(TRACE["traceEvents"]))
    write_run(analysed(gdn_session()), tmp_path / "run.sqlite")
    gdn_session().save(tmp_path / "session.gz")
    for name in ("session.gz", "run.sqlite"):
        (tmp_path / f"packed {name}").write_bytes(gzip.compress((tmp_path / name).read_bytes()))
    recorders = {path.name: open_session(path).recorder for path in tmp_path.iterdir()}
    assert recorders == {
        "nsys.json": RecordedBy.NSYS,
        "chrome.sqlite": RecordedBy.TORCH_PROFILER,
        "packed.json": RecordedBy.TORCH_PROFILER,
        "late.json": RecordedBy.TORCH_PROFILER,
        "list.json": RecordedBy.TORCH_PROFILER,
        "run.sqlite": RecordedBy.SYNCWATCH,
        "session.gz": RecordedBy.SYNCWATCH,
        "packed run.sqlite": RecordedBy.SYNCWATCH,
        "packed session.gz": RecordedBy.SYNCWATCH,
    }


def test_steps_of_traces_are_chosen_and_runs_know_theirs(tmp_path: Path) -> None:
    (tmp_path / "chrome.json").write_text(json.dumps(TRACE))
    write_run(analysed(gdn_session()), tmp_path / "run.json")
    for path in (nsys_export(tmp_path / "nsys.sqlite"), tmp_path / "chrome.json"):
        (recording,) = open_session(path, "decode").recordings
        assert [sync.step for sync in recording.syncs] == [0]
        with pytest.raises(UsageError, match="'decode'"):
            open_session(path, "decod")
    with pytest.raises(UsageError, match="knows its steps"):
        open_session(tmp_path / "run.json", "decode")


PACKED_RUN = gzip.compress(encode(gdn_session()), mtime=0)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\x00" * 100, "is no file that syncwatch reads"),
        (b"a,b\n1,2\n", "is no file that syncwatch reads"),
        (b"{}", "is not a syncwatch session"),
        (b"[]", "holds nothing of CUDA"),
        (b"[1, 2", "is no trace: it is cut off"),
        (b"\x1f\x8bnot packed", "is packed and broken"),
        (PACKED_RUN[:-20], "is packed and broken"),
        (PACKED_RUN[:2000] + b"\xff" * 50 + PACKED_RUN[2050:], "is packed and broken"),
        (gzip.compress(PACKED_RUN, mtime=0), "is packed twice"),
        (b"\xfd7zXZ\x00" + bytes(50), "is packed by xz, and only gzip"),
        (b"PK\x03\x04" + bytes(50), "is packed by zip, as torch.save does too"),
        (b"\x28\xb5\x2f\xfd" + bytes(50), "is packed by zstd"),
        (gzip.compress(b"SQLite format 3\x00" + bytes(500), mtime=0), "is a packed export of nsys"),
    ],
)
def test_what_is_none_of_these_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "trace.json"
    path.write_bytes(content)
    with pytest.raises(SyncwatchError, match=rf"trace\.json {said}.*\."):
        open_session(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for name in ("gone.sqlite", "gone.nsys-rep"):
        with pytest.raises(SessionError, match=f"Cannot read .*{name}: No such file"):
            open_session(tmp_path / name)
    with pytest.raises(SessionError, match="is a folder, and only files are read"):
        open_session(tmp_path)


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null", "/dev/random"])
def test_a_device_is_no_file(device: str) -> None:
    with pytest.raises(SessionError, match=f"{device} is a device, and only files are read"):
        open_session(Path(device))


def test_a_pipe_or_a_socket_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "trace.json")
    os.mkfifo(tmp_path / "trace.nsys-rep")
    for name in ("trace.json", "trace.nsys-rep"):
        with pytest.raises(SessionError, match=f"{name} is a pipe.* to a file first"):
            open_session(tmp_path / name)
    with socket.socket(socket.AF_UNIX) as open_socket:
        open_socket.bind(str(tmp_path / "s"))
        with pytest.raises(SessionError, match="is a socket"):
            open_session(tmp_path / "s")


@pytest.mark.parametrize(
    "begin", [b'{"a": "', b'{"traceEvents": [', b"[", b'{"schema": "'], ids=["run", "trace", "list", "session"]
)
def test_what_unpacks_to_gigabytes_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begin: bytes
) -> None:
    monkeypatch.setattr(files, "_ALWAYS_BYTES", 8 << 20)
    path = tmp_path / "bomb.json.gz"
    path.write_bytes(gzip.compress(begin + b"0," * (8 << 20)))
    tracemalloc.start()
    with pytest.raises(SessionError, match=r"bomb.json.gz unpacks to more than 200 times its size.*gunzip"):
        open_session(path)
    assert tracemalloc.get_traced_memory()[1] < 64 << 20
    tracemalloc.stop()


def test_a_real_trace_that_packs_well_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_ALWAYS_BYTES", 0)
    events = [{**TRACE["traceEvents"][0], "ts": number * 10} for number in range(5000)]
    (tmp_path / "t.json").write_bytes(gzip.compress(json.dumps({"traceEvents": events}).encode()))
    (recording,) = open_session(tmp_path / "t.json").recordings
    assert len(recording.syncs) == 4999, "all but the profiler's own last one"


def test_what_a_gate_takes_for_a_file(tmp_path: Path) -> None:
    nsys_export(tmp_path / "trace")
    (tmp_path / "train.py").write_text("[print(each) for each in range(3)]")
    assert is_recording_file(tmp_path / "trace")
    assert is_recording_file(Path("gone.nsys-rep")) and is_recording_file(Path("gone.json"))
    assert not is_recording_file(tmp_path / "train.py")
    for name in ("notes.txt", "model.pt", "train", "broken"):
        (tmp_path / name).write_text("import torch\n")
        assert is_recording_file(tmp_path / name), "it is read, and refused; it is never run"
    assert (
        not is_recording_file(Path("gdn-prefill"))
        and not is_recording_file(Path("pkg.mod:function"))
        and not is_recording_file(Path("\0"))
    )


@pytest.fixture
def nsys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where a stand-in for nsys goes, alone on PATH beside the shell."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("sh", "cp", "sleep"):
        (tools / tool).symlink_to(shutil.which(tool) or "")
    monkeypatch.setenv("PATH", str(tools))
    return tools / "nsys"


def stand_in(path: Path, *lines: str) -> None:
    path.write_text("\n".join(("#!/bin/sh", *lines)))
    path.chmod(0o755)


def test_a_report_is_exported_by_nsys(tmp_path: Path, nsys: Path) -> None:
    exported = nsys_export(tmp_path / "exported.sqlite")
    (tmp_path / "report1.nsys-rep").write_bytes(b"NSYS")
    stand_in(nsys, '[ "$1 $2 $3 $4 $5" = "export --type sqlite --force-overwrite true" ]', f'cp {exported} "$7"')
    before = sorted(tmp_path.iterdir())
    session = open_session(tmp_path / "report1.nsys-rep", "decode")
    assert (session.target, session.recorder, len(session.recordings)) == ("report1.nsys-rep", RecordedBy.NSYS, 1)
    assert sorted(tmp_path.iterdir()) == before


def test_without_nsys_the_way_is_told(tmp_path: Path, nsys: Path) -> None:
    (tmp_path / "report1.qdrep").write_bytes(b"NSYS")
    with pytest.raises(NotMeasuredError, match=r"none on PATH.*`nsys export --type sqlite report1.qdrep`"):
        open_session(tmp_path / "report1.qdrep")


def test_nsys_that_fails_is_quoted_though_it_ends_with_zero(tmp_path: Path, nsys: Path) -> None:
    (tmp_path / "report1.nsys-rep").write_bytes(b"NSYS")
    stand_in(nsys, "echo 'Importer error: too new' >&2", "exit 0")
    with pytest.raises(NotMeasuredError, match=r"could not export report1.nsys-rep: Importer error: too new"):
        open_session(tmp_path / "report1.nsys-rep")
    stand_in(nsys, 'echo broken > "$7"')
    with pytest.raises(SessionError, match=r"Cannot read .*report1\.nsys-rep: file is not a database"):
        open_session(tmp_path / "report1.nsys-rep")
