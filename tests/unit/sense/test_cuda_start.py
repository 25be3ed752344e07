"""The CUDA sensors start when the program initialises CUDA, and not before, after a watch, or in a fork."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch

from syncwatch.sense.cuda.start import WhenCudaStarts


@pytest.fixture
def queued(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None]]:
    """Stand for a torch that has not initialised CUDA yet."""
    calls: list[Callable[[], None]] = []
    monkeypatch.setattr(torch.cuda, "_lazy_call", calls.append)
    return calls


def test_nothing_begins_before_the_program_initialises_cuda(queued: list[Callable[[], None]]) -> None:
    begun: list[str] = []

    WhenCudaStarts(lambda: begun.append("begun"))
    before = list(begun)
    for call in (*queued, *queued):
        call()

    assert (before, begun) == ([], ["begun"])


def test_a_watch_that_has_ended_begins_nothing_any_more(queued: list[Callable[[], None]]) -> None:
    begun: list[str] = []

    WhenCudaStarts(lambda: begun.append("begun")).cancel()
    queued[0]()

    assert begun == []


def test_a_child_of_a_fork_begins_nothing_of_its_parents(
    queued: list[Callable[[], None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []

    WhenCudaStarts(lambda: begun.append("begun"))
    monkeypatch.setattr(os, "getpid", lambda: -1)
    queued[0]()

    assert begun == []


def test_what_the_gate_imports_leaves_the_handlers_at_exit_to_the_target() -> None:
    """`filelock` 3.32 to 4.1.2 imported before `multiprocessing` keeps a program with a child from ending."""
    script = "import sys, syncwatch.cli.app, syncwatch.app.watch, syncwatch.pytest_plugin.judging as _;"
    script += "print([name for name in ('filelock', 'multiprocessing.util') if name in sys.modules])"

    before_torch = subprocess.run(
        [sys.executable, "-c", "import syncwatch.cli.app, sys; print('filelock' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    whole = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert before_torch.stdout.strip() == "False"
    assert "filelock" not in whole.stdout
