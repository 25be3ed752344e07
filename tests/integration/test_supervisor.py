"""A command has two processes, a supervisor and a watched one: signals reach the target once, and both end together."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.command import ROOT, not_under_coverage, syncwatch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs what Linux tells of processes")

BEGINNING = "import os, signal, subprocess, sys\nimport torch\ntorch.ones(2, device='cuda') * 2\n"


def started(folder: Path, text: str, *flags: str, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
    """Start a gate of a program in a session of its own, as a shell does with a job."""
    (folder / "prog.py").write_text(BEGINNING + text)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    return subprocess.Popen(
        [sys.executable, *flags, "-m", "syncwatch", "gate", "prog.py", "--device", "virtual"],
        cwd=folder,
        env=environment,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


WAITING = "print(os.getpid(), flush=True)\nsignal.pause()\n"


def test_the_target_is_as_it_would_be_alone(tmp_path: Path) -> None:
    process = started(
        tmp_path,
        "print(sys.flags.optimize, input(), 'SYNCWATCH_SUPERVISOR' in os.environ, os.getpgid(0) == os.getsid(0))\n"
        "print(subprocess.run(['ls', '-l', '/proc/self/fd'], close_fds=False, stdout=-1, text=True).stdout)\n",
        "-O",
        stdin=subprocess.PIPE,
    )
    out, err = process.communicate("typed\n", timeout=120)

    assert process.returncode == 0, err
    assert "1 typed False True" in out
    # 1 is the pipe that `run` reads, 2 the one that this test reads.
    pipes = [line for line in out.splitlines() if "pipe:" in line]
    assert [line.split()[-3] for line in pipes] == ["0", "1", "2"], out


def test_the_watched_process_does_not_outlive_its_supervisor(tmp_path: Path) -> None:
    process = started(tmp_path, WAITING)
    watched = int(line_of(process))
    assert watched != process.pid
    descriptor = os.pidfd_open(watched)

    process.kill()
    process.communicate(timeout=120)

    # A descriptor of a process can be read when that has ended.
    assert select.select([descriptor], [], [], 60)[0] == [descriptor]
    os.close(descriptor)


@pytest.mark.parametrize(("number", "code", "said"), [("SIGTERM", 143, "Terminated"), ("SIGINT", 130, "Interrupted")])
@pytest.mark.parametrize("whole_group", [False, True])
def test_a_signal_to_the_supervisor_or_to_both_ends_the_target_once(
    tmp_path: Path, number: str, code: int, said: str, whole_group: bool
) -> None:
    process = started(tmp_path, WAITING)
    line_of(process)

    (os.killpg if whole_group else os.kill)(process.pid, signal.Signals[number])
    out, err = process.communicate(timeout=120)

    assert process.returncode == code, err
    assert err.count(f"error: {said}") == 1 and "Traceback" not in err
    assert out.count("could not measure: prog.py") == 1


def test_a_handler_of_the_targets_own_is_asked_once(tmp_path: Path) -> None:
    process = started(
        tmp_path,
        "def handler(number, frame):\n    print('heard', number, flush=True)\n    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, handler)\n" + WAITING,
    )
    line_of(process)

    process.terminate()
    out, err = process.communicate(timeout=120)

    assert process.returncode == 0, err
    assert out.count("heard 15") == 1 and "clean: prog.py" in out


@not_under_coverage
def test_what_a_library_holds_in_a_cycle_is_written_though_python_looks_for_none(tmp_path: Path) -> None:
    (tmp_path / "prog.py").write_text(
        "import gc, json, torch\n"
        "class Log:\n"
        "    def __init__(self):\n"
        "        self.me, self.file = self, open('log', 'w')\n"
        "        self.file.write('kept')\n"
        "torch.ones(3, device='cuda')\n"
        "json.log = Log()\n"
        "class Last:\n"
        "    def __del__(self, gc=gc, open=open): open('frozen', 'w').write(str(gc.get_freeze_count() > 0))\n"
        "json.last = Last()\n"
    )

    ended = syncwatch("gate", "prog.py", "--device", "virtual", cwd=tmp_path)

    assert ended.code == 0, ended.out + ended.err
    assert (tmp_path / "log").read_text() == "kept"
    assert (tmp_path / "frozen").read_text() == "True"
