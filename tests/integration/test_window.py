"""`syncwatch run` and `gate` watch a window of a running program, and leave a run that loads however it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from syncwatch.model.session import Session
from tests.helpers.command import ROOT, Ended, syncwatch
from tests.helpers.waits import sites_that_wait, waits_of

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="needs POSIX signals")

STEPS = """\
import os, signal
import torch, syncwatch

x = torch.ones(4, device="cuda")


def at(place):
    if place == PLACE:
        END


x.tolist()
at("before")
for number in range(6):
    with syncwatch.step():
        x.sum().item()
        if number == 3:
            at("inside")
at("behind")
x.tolist()
"""
WINDOW = ("--skip-steps", "2", "--for-steps", "3")


def program(folder: Path, place: str = "nowhere", end: str = "pass") -> str:
    text = STEPS.replace("PLACE", repr(place)).replace("END", end)
    (folder / "prog.py").write_text(text)
    return "prog.py"


def codes(run: Path) -> list[str]:
    report = json.loads(run.read_text())
    return [site["code"] for variant in report["variants"] for site in sites_that_wait(variant["sites"])]


def test_the_report_has_the_window_alone_and_says_which_it_was(tmp_path: Path) -> None:
    ended = syncwatch("run", program(tmp_path), "--device", "virtual", *WINDOW, "-o", "run.json", cwd=tmp_path)

    assert ended.code == 0, ended.err
    assert "steps 2 to 4 of those that ran" in " ".join(ended.out.split())
    report = json.loads((tmp_path / "run.json").read_text())
    assert (report["window"]["first_step"], report["window"]["last_step"]) == (2, 4)
    assert 0 < report["window"]["start_ns"] < report["window"]["end_ns"]
    assert codes(tmp_path / "run.json") == ["SW101"]
    assert report["variants"][0]["steps"] == 3 and report["complete"]


def test_a_gate_judges_the_window_alone(tmp_path: Path) -> None:
    (tmp_path / "prog.py").write_text(
        "import torch, syncwatch\nx = torch.ones(4, device='cuda')\nfor number in range(4):\n"
        "    with syncwatch.step():\n        y = x * 2\n        if number != 2:\n            y.sum().item()\n"
    )

    exits = [
        syncwatch("gate", "prog.py", "--device", "virtual", "--skip-steps", number, "--for-steps", "1", cwd=tmp_path)
        for number in ("1", "2", "4")
    ]

    assert [ended.code for ended in exits] == [1, 0, 3], exits
    assert "never began" in exits[2].out and "4 steps were marked" in " ".join(exits[2].out.split())


@pytest.mark.parametrize(("window", "code"), [((), 3), (("--for-steps", "1"), 0)], ids=["open", "over"])
def test_a_wait_while_python_ends_counts_where_the_window_lasts_as_long(
    tmp_path: Path, window: tuple[str, ...], code: int
) -> None:
    (tmp_path / "prog.py").write_text(
        "import logging, torch, syncwatch\nx = torch.ones(4, device='cuda')\n"
        "class Last(logging.Handler):\n    def flush(self, x=x):\n        x.tolist()\n"
        "with syncwatch.step():\n    x * 2\nkept = Last()\nlogging.getLogger('kept').addHandler(kept)\n"
    )

    ended = syncwatch("gate", "prog.py", "--device", "virtual", "--skip-steps", "0", *window, cwd=tmp_path)

    assert ended.code == code, ended.out + ended.err
    assert ("After the report was made" in ended.err) == (code == 3)


def test_a_window_that_never_began_is_not_measured(tmp_path: Path) -> None:
    ended = syncwatch(
        "run", program(tmp_path), "--device", "virtual", "--skip-steps", "60", "-o", "run.json", cwd=tmp_path
    )

    assert ended.code == 3
    assert "Nothing was measured. The window never began" in ended.err
    session = Session.load(tmp_path / "run.json")
    assert not session.complete and not session.recordings
    assert syncwatch("report", "run.json", cwd=tmp_path).code == 0
    assert syncwatch("gate", "run.json", cwd=tmp_path).code == 3


def test_signals_to_the_command_choose_what_is_between_them(tmp_path: Path) -> None:
    (tmp_path / "server.py").write_text(
        "import torch\nfrom syncwatch.sense import active\nx = torch.ones(4, device='cuda')\nx.tolist()\n"
        "print('ready', flush=True)\nwhile not active.recorders():\n    pass\n"
        "x.sum().item()\nprint('inside', flush=True)\nwhile active.recorders():\n    pass\nx.tolist()\n"
    )
    words = ["run", "server.py", "--device", "virtual", "--signal", "usr1", "-o", "run.json"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    process = subprocess.Popen(
        [sys.executable, "-m", "syncwatch", *words],
        cwd=tmp_path,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    for line in ("ready\n", "inside\n"):
        assert process.stdout.readline() == line
        process.send_signal(signal.SIGUSR1)
    out, err = process.communicate()

    assert process.returncode == 0, err
    assert "after the start" in " ".join(out.split())
    assert codes(tmp_path / "run.json") == ["SW101"]


def test_seconds_end_the_window_and_the_program_runs_on(tmp_path: Path) -> None:
    (tmp_path / "prog.py").write_text(
        "import torch\nfrom syncwatch.sense import active\nx = torch.ones(4, device='cuda')\n"
        "while active.recorders():\n    x.sum().item()\nx.tolist()\nprint('ran on')\n"
    )

    ended = syncwatch("run", "prog.py", "--device", "virtual", "--seconds", "0.1", "-o", "run.json", cwd=tmp_path)

    assert ended.code == 0 and "ran on" in ended.out, ended.err
    assert Session.load(tmp_path / "run.json").window is not None
    assert "SW102" not in codes(tmp_path / "run.json")


@dataclass(frozen=True, slots=True)
class End:
    """One way to end, and what is left of it."""

    text: str
    exits: tuple[int, int, int]
    """The exit codes before, inside and behind the window."""
    complete: tuple[bool, bool, bool]


ENDS = {
    "an exception": End("raise RuntimeError", (3, 3, 3), (False, False, False)),
    "out of memory": End("torch.empty(1 << 40, device='cuda')", (3, 3, 3), (False, False, False)),
    "an exit status": End("raise SystemExit(4)", (3, 3, 3), (False, False, False)),
    "os._exit of 0": End("os._exit(0)", (3, 0, 0), (False, True, True)),
    "os._exit of 4": End("os._exit(4)", (3, 3, 3), (False, False, False)),
    "SIGTERM": End("os.kill(os.getpid(), signal.SIGTERM)", (143, 143, 143), (False, False, True)),
    "Ctrl-C": End("signal.raise_signal(signal.SIGINT)", (130, 130, 130), (False, False, True)),
}


@pytest.mark.parametrize("place", ["before", "inside", "behind"])
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
def test_however_it_ends_the_run_loads(tmp_path: Path, end: End, place: str) -> None:
    index = ["before", "inside", "behind"].index(place)
    script = program(tmp_path, place, end.text)

    ended = syncwatch("run", script, "--device", "virtual", *WINDOW, "-o", "run.json", cwd=tmp_path)

    assert ended.code == end.exits[index], ended.err
    session = Session.load(tmp_path / "run.json")
    assert session.complete == end.complete[index], session.missing
    assert [len(waits_of(each)) for each in session.recordings] == [[], [2], [3]][index]
    assert (session.window is None) == (place == "before")
    gated = syncwatch("gate", "run.json", cwd=tmp_path)
    assert gated.code == (1 if session.complete else 3), gated.out


@pytest.mark.parametrize(
    ("place", "waits", "complete"), [("before", [], False), ("inside", [2], False), ("behind", [3], True)]
)
def test_a_killed_program_leaves_its_last_checkpoint(
    tmp_path: Path, place: str, waits: list[int], complete: bool
) -> None:
    script, output = program(tmp_path, place, "signal.pause()"), tmp_path / "run.json"
    words = [sys.executable, "-m", "syncwatch", "run", script, "--device", "virtual", *WINDOW, "-o", str(output)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    process = subprocess.Popen(
        words, cwd=tmp_path, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )

    def there() -> bool:
        if not output.exists():
            return False
        session = Session.load(output)
        return session.complete == complete and [len(waits_of(each)) for each in session.recordings] == waits

    wait_until(there, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()

    assert there()


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 60
    while not condition() and time.monotonic() < end and process.poll() is None:
        os.sched_yield()
    assert condition(), process.communicate()


REFUSED: dict[tuple[str, ...], str] = {
    ("gdn-prefill", "--for-steps", "3"): "A scenario has --warmup for the steps before the measured ones",
    ("prog.py", "--skip-steps", "3", "--signal", "USR1"): "both say when the window begins",
    ("prog.py", "--seconds", "0"): "--seconds must be finite and above 0",
    ("prog.py", "--seconds", "nan"): "--seconds must be finite and above 0",
    ("prog.py", "--signal", "TERM"): "takes USR1 or USR2",
    ("prog.py", "--for-steps", "0"): "greater than or equal to 1",
}


@pytest.mark.parametrize(("words", "said"), REFUSED.items(), ids=map(" ".join, REFUSED))
@pytest.mark.parametrize("command", ["run", "gate"])
def test_what_is_no_window_is_refused(tmp_path: Path, command: str, words: tuple[str, ...], said: str) -> None:
    program(tmp_path)

    ended: Ended = syncwatch(command, *words, "--device", "virtual", cwd=tmp_path)

    assert ended.code == 2 and said in " ".join(ended.err.split()), ended.err


def test_a_saved_run_has_no_window_to_choose(tmp_path: Path) -> None:
    syncwatch("run", program(tmp_path), "--device", "virtual", "-o", "run.json", cwd=tmp_path)

    ended = syncwatch("gate", "run.json", "--for-steps", "2", cwd=tmp_path)

    assert ended.code == 2 and "is a saved run and is not run again" in " ".join(ended.err.split())
