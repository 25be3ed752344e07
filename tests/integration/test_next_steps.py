"""The hints beside a report: what to do next, where the run was saved, and the names that a shell completes."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.command import LIMIT_S, ROOT, syncwatch

WAITS = "import torch\ntorch.ones(3, device='cuda').tolist()\n"
STEPS = "import syncwatch, torch\nwith syncwatch.step():\n    torch.ones(3, device='cuda')\n"


def test_what_is_next_after_a_run_without_steps(tmp_path: Path) -> None:
    (tmp_path / "my train.py").write_text(WAITS)
    ended = syncwatch("run", "my train.py", "--device", "virtual", cwd=tmp_path)
    assert "next: mark the steps with `with syncwatch.step():`" in ended.out
    assert "next: `syncwatch explain SW102`" in ended.out
    assert "`syncwatch gate 'my train.py' --update-baseline`" in ended.out

    document = syncwatch("run", "my train.py", "--device", "virtual", "--format", "junit", cwd=tmp_path)
    assert "next:" not in document.out + document.err


def test_nothing_is_next_where_steps_are_marked_and_none_waits(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(STEPS)
    assert "next:" not in syncwatch("run", "train.py", "--device", "virtual", cwd=tmp_path).out


def test_where_a_run_is_goes_to_a_terminal_alone(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(WAITS)
    command = [sys.executable, "-m", "syncwatch", "run", "train.py", "--device", "virtual", "--format", "json"]
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=theirs) as process:
        os.close(theirs)
        assert process.stdout is not None
        out = process.stdout.read()
        said = os.read(ours, 1 << 16)
        process.wait(LIMIT_S)
    os.close(ours)
    assert b"watching train.py on the virtual device ..." in said
    assert out.startswith(b"{") and b"watching" not in out
    assert "watching" not in syncwatch("run", "train.py", "--device", "virtual", cwd=tmp_path).err


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("syncwatch run gdn", ["gdn-prefill"]),
        ("syncwatch run tr", ["train.py"]),
        ("syncwatch gate tr", ["trace.json", "train.py"]),
        ("syncwatch explain SW20", ["SW201", "SW202"]),
        ("syncwatch run --format ht", ["html"]),
        ("syncwatch comp", ["compare"]),
    ],
)
def test_a_shell_is_offered_names_without_torch(tmp_path: Path, words: str, offered: list[str]) -> None:
    (tmp_path / "torch.py").write_text("raise RuntimeError('imported')")
    (tmp_path / "train.py").touch()
    (tmp_path / "trace.json").touch()
    path = os.pathsep.join([str(tmp_path), str(ROOT), os.environ.get("PYTHONPATH", "")])
    ended = subprocess.run(
        [sys.executable, "-c", "import sys; sys.argv = ['syncwatch']; from syncwatch.cli.entry import main; main()"],
        env={
            **os.environ,
            "PYTHONPATH": path,
            "_SYNCWATCH_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split()) - 1),
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert "imported" not in ended.stderr
    assert ended.stdout.split()[: len(offered)] == offered
