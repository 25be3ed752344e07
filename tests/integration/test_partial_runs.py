"""A run that does not come to its end leaves a run file that loads and says what is missing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from syncwatch.model.session import Session
from tests.helpers.command import ROOT
from tests.helpers.waits import waits_of

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX signals and fork")

WAITS = """
import sys, time
import torch
x = torch.ones(3, device="cuda")
print(x.sum().item(), flush=True)
"""


@pytest.fixture(params=["virtual", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def started(folder: Path, device: str, more: str, command: str = "run") -> tuple[subprocess.Popen[str], Path]:
    script, output = folder / "train.py", folder / "run.json"
    script.write_text(WAITS + more)
    words = [sys.executable, "-m", "syncwatch", command, str(script), "--device", device, "-o", str(output)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    process = subprocess.Popen(
        words, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    return process, output


def until(process: subprocess.Popen[str], output: Path) -> None:
    """Wait for the first checkpoint."""
    end = time.monotonic() + 60
    while not output.exists() and time.monotonic() < end and process.poll() is None:
        os.sched_yield()
    assert output.exists(), process.communicate()


def test_a_killed_run_leaves_what_it_had_seen(tmp_path: Path, device: str) -> None:
    process, output = started(tmp_path, device, "time.sleep(600)\n")
    until(process, output)

    process.send_signal(signal.SIGKILL)
    process.communicate()

    session = Session.load(output)
    assert not session.complete and "ended while it ran" in session.missing[0]
    assert [len(waits_of(each)) for each in session.recordings] == [1]


def test_a_terminated_run_reports_and_says_so(tmp_path: Path, device: str) -> None:
    process, output = started(tmp_path, device, "time.sleep(600)\n")
    until(process, output)

    process.send_signal(signal.SIGTERM)
    out, err = process.communicate()

    assert process.returncode == 143
    assert "Terminated" in err and "SW101" in out
    assert not Session.load(output).complete


def test_running_out_of_gpu_memory_keeps_what_came_before(tmp_path: Path, device: str) -> None:
    process, output = started(tmp_path, device, "torch.empty(1 << 40, device='cuda')\n")

    _, err = process.communicate()

    assert process.returncode == 3
    assert "OutOfMemoryError" in err and "more memory" in err
    session = Session.load(output)
    assert not session.complete and len(waits_of(session.recordings[0])) == 1


def test_the_child_of_a_fork_reports_nothing_and_the_parent_says_that_it_forked(tmp_path: Path, device: str) -> None:
    process, output = started(
        tmp_path,
        device,
        "import os\nchild = os.fork()\nif child:\n    os.waitpid(child, 0)\n    x.sum().item()\n",
    )

    out, err = process.communicate()

    assert process.returncode == 0, err
    assert out.count("2 syncs a step") == 1 and "Exception" not in err
    session = Session.load(output)
    assert len(waits_of(session.recordings[0])) == 2
    assert "forked once" in session.recordings[0].notes[-1]


def test_a_child_that_fails_ends_alone(tmp_path: Path, device: str) -> None:
    process, output = started(
        tmp_path,
        device,
        "import os\nchild = os.fork()\nif not child:\n    raise KeyError('child')\n_, status = os.waitpid(child, 0)\n"
        "print('child ended with', os.waitstatus_to_exitcode(status))\n",
    )

    out, err = process.communicate()

    assert process.returncode == 0, err
    assert "child ended with 1" in out and "KeyError: 'child'" in err
    assert Session.load(output).complete


def test_a_terminated_gate_is_no_verdict(tmp_path: Path, device: str) -> None:
    process, output = started(tmp_path, device, "time.sleep(600)\n", command="gate")
    until(process, output)

    process.send_signal(signal.SIGTERM)
    process.communicate()

    assert process.returncode == 143


def test_a_target_that_leaves_its_folder_leaves_the_run_file_where_it_was_asked_for(
    tmp_path: Path, device: str
) -> None:
    script, elsewhere = tmp_path / "train.py", tmp_path / "elsewhere"
    elsewhere.mkdir()
    script.write_text(f"import os\n{WAITS}os.chdir({str(elsewhere)!r})\n")

    words = [sys.executable, "-m", "syncwatch", "run", "train.py", "--device", device, "-o", "run.json"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    subprocess.run(words, cwd=tmp_path, env=environment, check=True, capture_output=True)

    assert Session.load(tmp_path / "run.json").complete and not any(elsewhere.iterdir())
