"""What is private in an export of nsys stays there."""

from __future__ import annotations

from pathlib import Path

from syncwatch.model.codec import encode
from syncwatch.traces.nsys.load import load
from tests.helpers.nsys_files import PID, TID, NsysExport, global_id

SECRET = "hunter2"


def test_only_names_of_calls_kernels_ranges_and_their_threads_are_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "trace.sqlite"
    with NsysExport(path) as export:
        for number in range(20):
            export.text(f"{SECRET} {number} HOME=/home/{SECRET}")
        export.row("PROCESSES", globalPid=global_id(PID), pid=PID, name=f"/home/{SECRET}/bin/python")
        export.row("META_DATA_CAPTURE", name="PROCESS_0:ENVIRONMENT_VARIABLE", value=f"TOKEN={SECRET}")
        export.row("META_DATA_EXPORT", name="EXPORT_OUTPUT", value=f"/home/{SECRET}/trace.sqlite")
        thread = global_id(PID, 99)
        export.row("ThreadNames", nameId=export.text(f"idle {SECRET}"), priority=1, globalTid=thread)
        export.row("NVTX_EVENTS", start=5, eventType=34, text=f"mark {SECRET}", globalTid=global_id(PID, TID))
        export.call(f"get{SECRET}", (100, 200))
        export.kernel((1500, 5000), export.call("cudaLaunchKernel", (1000, 2000)))
        export.call("cudaDeviceSynchronize", (3000, 5100))
        export.range("decode", (0, 6000))
        for name in ("TARGET_INFO_SYSTEM_ENV", "ProcessStreams"):
            export.database.execute(f"CREATE TABLE {name} (name TEXT, value TEXT)")
            export.database.execute(f"INSERT INTO {name} VALUES ('USER', '{SECRET}')")
    content = encode(load(path))
    assert SECRET.encode() not in content
    assert b"decode" in content and b"cudaLaunchKernel" in content
    assert SECRET.encode() in path.read_bytes()


def test_nothing_is_written(tmp_path: Path) -> None:
    path = tmp_path / "trace.sqlite"
    with NsysExport(path) as export:
        export.kernel((1500, 5000))
    before = path.read_bytes()
    path.chmod(0o444)
    tmp_path.chmod(0o555)
    try:
        load(path)
        assert [each.name for each in tmp_path.iterdir()] == ["trace.sqlite"]
    finally:
        tmp_path.chmod(0o755)
    assert path.read_bytes() == before
