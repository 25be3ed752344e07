"""Code that replaces or closes stdout and stderr, or leaves its folder: the report comes out all the same."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.command import LIMIT_S, syncwatch
from tests.helpers.waits import sites_that_wait

SCRIPT = """
import torch
total = torch.arange(8, device="cuda").sum().item()
print("total", total, flush=True)
"""

INTERFERENCES = {
    "replaced": "import io, sys\nsys.stdout = sys.stderr = io.StringIO()\n",
    "closed": "import sys\nsys.stdout.close()\nsys.stderr.close()\n",
    "descriptors closed": "import os\nos.close(1)\nos.close(2)\n",
    "all descriptors closed": "import os\nos.closerange(0, 256)\n",
    "descriptors led to a log": (
        "import os\nlog = os.open('log', os.O_CREAT | os.O_WRONLY)\nos.dup2(log, 1)\nos.dup2(log, 2)\n"
        "print('to the log')\n"
    ),
    "redirected": "import contextlib, io\ncontextlib.redirect_stdout(io.StringIO()).__enter__()\n",
    "none": "import sys\nsys.stdout = sys.stderr = None\n",
    "detached": "import sys\nout, err = sys.stdout.detach(), sys.stderr.detach()\n",
    "a logger's": (
        "import sys\nclass Log:\n    def write(self, text): raise RuntimeError(text)\nsys.stdout = sys.stderr = Log()\n"
    ),
    "not blocking": "import os\nos.set_blocking(1, False)\nos.set_blocking(2, False)\n",
    "printed at exit": "import atexit\natexit.register(print, 'late')\n",
    "left printing": (
        "import threading, time\n"
        "def on():\n    while True: print('still here', flush=True); time.sleep(0.001)\n"
        "threading.Thread(target=on, daemon=True).start()\n"
    ),
}


@pytest.mark.parametrize("interference", INTERFERENCES.values(), ids=INTERFERENCES)
def test_the_report_survives_what_the_target_does_to_stdout(tmp_path: Path, interference: str) -> None:
    (tmp_path / "train.py").write_text(SCRIPT + interference)

    shown = syncwatch("gate", "train.py", "--device", "virtual", cwd=tmp_path)
    assert shown.code == 1, shown.err
    assert "SW101" in shown.out and "train.py:3" in shown.out and "total 28" in shown.out
    assert "error: " in shown.err

    alone = syncwatch("run", "train.py", "--device", "virtual", "--format", "json", cwd=tmp_path)
    assert alone.code == 0, alone.err
    assert sites_that_wait(json.loads(alone.out)["variants"][0]["sites"])[0]["code"] == "SW101"
    assert "total 28" in alone.err


def test_a_target_that_leaves_a_daemon_lets_the_reader_of_a_pipe_go(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(
        SCRIPT + "import os, subprocess, sys, time\n"
        "if os.fork() == 0:\n"
        "    for number in (0, 1, 2): os.close(number)\n"
        "    time.sleep(600)\n"
        "quiet = dict(stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], close_fds=False, **quiet)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-m", "syncwatch", "run", "train.py", "--device", "virtual"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        text=True,
    ) as process:
        try:
            out, _ = process.communicate(timeout=LIMIT_S)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
    assert "SW101" in out


@pytest.mark.parametrize("leave", ["os.chdir('/')", "os.chdir(gone); os.rmdir(gone)"], ids=["left", "removed"])
def test_files_go_where_they_were_asked_for_and_comments_are_found(tmp_path: Path, leave: str) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "ci.toml").write_text('explicit = "allow"\n')
    (tmp_path / "app" / "train.py").write_text(
        f"import os, tempfile\ngone = tempfile.mkdtemp()\n{leave}\n"
        "import torch\nx = torch.ones(3, device='cuda')\n"
        "x.sum().item()  # syncwatch: allow[SW101] the scheduler needs it\n"
        "x.tolist()\n"
    )
    ended = syncwatch(
        *("gate", "app/train.py", "--device", "virtual", "-o", "out/run.json", "--format", "html=out/page.html"),
        *("--format", "json=report.json", "--config", "ci.toml", "--baseline", "base.jsonl", "--update-baseline"),
        cwd=tmp_path,
    )

    assert ended.code == 0, ended.err
    report = json.loads((tmp_path / "report.json").read_text())
    assert {(site["code"], site["file"]) for site in sites_that_wait(report["variants"][0]["sites"])} == {
        ("SW101", "app/train.py"),
        ("SW102", "app/train.py"),
    }
    (entry,) = (tmp_path / "base.jsonl").read_text().splitlines()[1:]
    assert json.loads(entry)["code"] == "SW102", "the comment allows the other"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"run.json", "page.html"}


def test_a_folder_that_the_target_removes_is_made_again(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "train.py").write_text(SCRIPT + "import shutil\nshutil.rmtree('out')\n")
    ended = syncwatch(
        *("run", "train.py", "--device", "virtual", "-o", "out/run.json", "--format", "html=out/page.html"),
        cwd=tmp_path,
    )
    assert ended.code == 0, ended.err
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"run.json", "page.html"}


def test_a_folder_that_becomes_a_file_is_a_sentence_and_the_rest_is_shown(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "train.py").write_text(SCRIPT + "import os\nos.rmdir('out')\nopen('out', 'w').close()\n")
    ended = syncwatch(
        *("run", "train.py", "--device", "virtual", "-o", "out/run.json", "--format", "junit=out/x.xml"), cwd=tmp_path
    )
    assert ended.code == 2
    assert "SW101" in ended.out
    assert "Cannot write" in ended.err and "Traceback" not in ended.err
