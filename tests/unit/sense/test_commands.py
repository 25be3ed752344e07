"""Which commands run Python, so that what they do on a GPU was not watched."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from syncwatch.sense.processes.commands import command_name, line_runs_python, runs_python


@pytest.mark.parametrize(
    "words",
    [
        [sys.executable, "train.py"],
        ["python3.12", "-m", "pkg"],
        ["/usr/bin/env", "python", "train.py"],
        ["torchrun", "--nproc-per-node", "2", "train.py"],
        ["sh", "-c", "cd /tmp && A=1 python train.py"],
        ["bash", "-lc", "exec python3 train.py"],
        ["timeout", "5", "python", "train.py"],
        ["sh"],
    ],
)
def test_what_runs_python(words: list[str]) -> None:
    assert runs_python(words)


@pytest.mark.parametrize(
    "words",
    [
        ["gcc", "-I/usr/include/python3.11", "a.c", "-o", "python"],
        ["git", "log", "--", "train.py"],
        ["nvidia-smi"],
        ["/sbin/ldconfig", "-p"],
        ["sh", "-c", "gcc -I/usr/include/python3.11 a.c; ls python"],
        [sys.executable, "-c", "from multiprocessing.resource_tracker import main;main(5)"],
        [sys.executable, "/x/torch/_inductor/compile_worker/__main__.py", "--pickler=x"],
        [],
    ],
)
def test_what_does_not(words: list[str]) -> None:
    assert not runs_python(words)


def test_files_say_what_runs_them(tmp_path: Path) -> None:
    console_script, launcher = tmp_path / "tool", tmp_path / "launch.sh"
    console_script.write_text("#!/opt/venv/bin/python3\n")
    launcher.write_text("#!/bin/sh\nset -e\npython train.py\n")

    assert runs_python([str(console_script)])
    assert runs_python(["sh", str(launcher)])
    assert line_runs_python(f"true && {console_script} --x")


def test_a_name_in_a_report_holds_no_argument_that_may_be_a_secret() -> None:
    assert command_name(["/opt/bin/python3", "/home/someone/train.py", "--token", "abc"]) == "python3 train.py"
    assert command_name(["python", "-m", "pkg.mod", "abc"]) == "python -m pkg.mod"
    assert command_name(["sh", "-c", "TOKEN=abc python train.py"]) == "sh -c ..."
    assert command_name(["env", "TOKEN=abc", "python"]) == "env ..."
