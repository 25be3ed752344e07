"""Several formats at once, from the command line: of a run, of a saved run, and of the gate."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.command import Ended, syncwatch

_SCRIPT = """
import torch
print("hello")
x = torch.ones(4, device="cuda")
x.sum().item()
"""
_KEEP = "--device", "virtual"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(_SCRIPT)
    return tmp_path


def command(folder: Path, *arguments: str) -> Ended:
    return syncwatch(*arguments, cwd=folder)


def test_files_are_written_and_the_terminal_shown_beside_them(folder: Path) -> None:
    ended = command(
        folder, "run", "app.py", *_KEEP, "--format", "sarif=out.sarif", "--format", "junit=out.xml", "-o", "run.json"
    )

    assert ended.code == 0, ended.err
    assert "SW101 a scalar is read from the GPU" in ended.out and "hello" in ended.out
    assert json.loads((folder / "out.sarif").read_text())["version"] == "2.1.0"
    assert "<testsuites" in (folder / "out.xml").read_text()

    again = command(folder, "report", "run.json", "--format", "sarif=again.sarif", "--format", "markdown")
    assert again.code == 0 and again.out.startswith("### syncwatch: `app.py`")
    assert (folder / "again.sarif").read_text() == (folder / "out.sarif").read_text()


def test_a_document_is_alone_on_stdout(folder: Path) -> None:
    ended = command(folder, "run", "app.py", *_KEEP, "--format", "sarif")

    assert json.loads(ended.out)["version"] == "2.1.0" and "hello" in ended.err


def test_the_gate_writes_its_verdict_in_every_format(folder: Path) -> None:
    ended = command(
        folder, "gate", "app.py", *_KEEP, "--format", "github", "--format", "terminal", "--format", "sarif=out.sarif"
    )

    assert ended.code == 1
    annotation = next(line for line in ended.out.splitlines() if line.startswith("::"))
    assert annotation.startswith("::error file=app.py,line=5,title=SW101 a scalar is read from the GPU::")
    assert "--> app.py:5" in ended.out
    (result,) = json.loads((folder / "out.sarif").read_text())["runs"][0]["results"]
    assert (result["level"], result["properties"]["reason"]) == ("error", "not-allowed")


def test_a_format_that_cannot_be_is_refused_before_the_run(folder: Path) -> None:
    ended = command(folder, "run", "app.py", *_KEEP, "--format", "sarif=no/folder/out.sarif")

    assert ended.code == 2 and "hello" not in ended.out
    assert "the folder no/folder does not exist" in ended.err


@pytest.mark.parametrize(
    ("arguments", "code"), [(("report", "run.json", "--format", "json"), 0), (("gate", "run.json"), 1)]
)
def test_a_reader_that_has_seen_enough_changes_no_exit_code(
    folder: Path, arguments: tuple[str, ...], code: int
) -> None:
    command(folder, "run", "app.py", *_KEEP, "-o", "run.json")
    reader, writer = os.pipe()
    os.close(reader)

    ended = subprocess.run(
        [sys.executable, "-m", "syncwatch", *arguments],
        cwd=folder,
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )

    os.close(writer)
    assert ended.returncode == code
    assert "Traceback" not in ended.stderr and "Broken" not in ended.stderr
