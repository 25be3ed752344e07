"""`syncwatch run` on a user's own code on the virtual device: its report, its run file and its exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from syncwatch.model.session import Session
from tests.helpers.command import ROOT, syncwatch
from tests.helpers.waits import sites_that_wait, waits_of

SCRIPT = """
import sys
import torch

x = torch.arange(8, device="cuda")
total = x.sum().item()
print("total", total, sys.argv[1:])
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "prog.py"
    path.write_text(SCRIPT)
    return path


def run(folder: Path, *arguments: str) -> tuple[int, dict[str, object], str]:
    ended = syncwatch("run", *arguments, "--device", "virtual", "-o", "run.json", cwd=folder)
    report = json.loads((folder / "run.json").read_text()) if (folder / "run.json").exists() else {}
    return ended.code, report, ended.out + ended.err


def test_a_script_is_run_as_it_is_and_its_waiting_line_is_named(script: Path) -> None:
    ended = syncwatch(
        *("run", "prog.py", "--device", "virtual", "-o", "run.json", "--format", "json", "--", "--epochs", "1"),
        cwd=script.parent,
    )

    assert ended.code == 0, ended.err
    assert "total 28 ['--epochs', '1']" in ended.err
    report = json.loads(ended.out)
    assert {**json.loads((script.parent / "run.json").read_text()), "session": None} == {**report, "session": None}
    (variant,) = report["variants"]
    (site,) = sites_that_wait(variant["sites"])
    assert (site["code"], site["file"], site["line"], site["calls"]) == ("SW101", "prog.py", 6, 1)
    assert (report["device"], report["complete"], variant["per_step"]["d2h_copies"]) == ("virtual", True, 1)


def test_a_module_and_a_function(tmp_path: Path) -> None:
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "__init__.py").touch()
    (tmp_path / "pkg" / "mod.py").write_text(
        "import torch\n\ndef go():\n    torch.ones(2, device='cuda').tolist()\n\nif __name__ == '__main__':\n    go()\n"
    )

    for target in (("pkg.mod:go",), ("-m", "pkg.mod")):
        code, report, said = run(tmp_path, *target)
        assert code == 0, said
        (site,) = sites_that_wait(report["variants"][0]["sites"])  # type: ignore[index]
        assert (site["code"], site["file"], site["line"]) == ("SW102", "pkg/mod.py", 4)


def test_a_script_that_raises_shows_its_own_traceback_and_keeps_the_partial_report(script: Path) -> None:
    script.write_text(SCRIPT + "\nraise ValueError('out of luck')\n")

    code, report, said = run(script.parent, "prog.py")

    assert code == 3
    assert "ValueError: out of luck" in said and 'prog.py", line 9' in said
    assert "syncwatch/bench" not in said and "runpy" not in said
    assert "error: prog.py raised ValueError" in said
    assert (report["complete"], len(sites_that_wait(report["variants"][0]["sites"]))) == (False, 1)  # type: ignore[index]


@pytest.mark.parametrize(("ending", "code"), [("sys.exit()", 0), ("sys.exit(0)", 0), ("sys.exit(4)", 3)])
def test_a_script_that_exits(script: Path, ending: str, code: int) -> None:
    script.write_text(f"{SCRIPT}\n{ending}\n")

    ended, report, said = run(script.parent, "prog.py")

    assert ended == code, said
    assert report["complete"] is (code == 0)


def test_a_script_with_a_syntax_error_is_its_own(script: Path) -> None:
    script.write_text("def broken(:\n")

    code, _, said = run(script.parent, "prog.py")

    assert (code, "SyntaxError" in said, "fault of syncwatch" in said) == (3, True, False)


def test_ctrl_c_leaves_a_loadable_partial_session(script: Path) -> None:
    script.write_text(SCRIPT + "\nprint('ready', flush=True)\nimport signal\nsignal.pause()\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "syncwatch", "run", "prog.py", "--device", "virtual", "-o", "run.json"],
        cwd=script.parent,
        env={**os.environ, "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    while process.stdout.readline().strip() != "ready":
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)

    session = Session.load(script.parent / "run.json")
    assert process.returncode == 130, said
    assert "Interrupted" in said and "Traceback" not in said
    assert not session.complete and len(waits_of(session.recordings[0])) == 1


def test_a_saved_run_can_be_shown_and_judged(script: Path) -> None:
    run(script.parent, "prog.py")

    shown = syncwatch("report", "run.json", cwd=script.parent)
    over = syncwatch("gate", "run.json", cwd=script.parent)
    allowed = syncwatch("gate", "run.json", "--max-syncs", "1", cwd=script.parent)

    assert shown.code == 0 and "prog.py:6" in shown.out
    assert (over.code, allowed.code) == (1, 0)
    assert "1 not allowed" in over.out


def test_doctor_says_what_works_here_and_why_the_rest_does_not() -> None:
    ended = syncwatch("doctor", cwd=ROOT, env={"CUDA_VISIBLE_DEVICES": ""})

    assert ended.code == 0, ended.err
    assert "no CUDA GPU" in ended.out and "virtual" in ended.out
    assert "measured on NVIDIA H200 with torch 2.11" in ended.out


@pytest.mark.parametrize(
    "option", [("--steps", "3"), ("--warmup", "0"), ("--rounds", "2"), ("--preset", "tiny"), ("--cache-miss",)]
)
def test_what_only_a_scenario_takes_is_refused_before_the_code_runs(script: Path, option: tuple[str, ...]) -> None:
    code, report, said = run(script.parent, "prog.py", *option)

    assert (code, report) == (2, {})
    assert option[0] in said and "syncwatch.step()" in said and "total" not in said
