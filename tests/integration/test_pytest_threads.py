"""Threads that a marked test leaves running: no test is judged by what they wait for later, and the plugin says so."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

_HEAD = """
import _thread
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

GO, DONE = threading.Event(), threading.Event()

def later():
    GO.wait()
    torch.ones(8, device="cuda").sum().item()
    DONE.set()
"""
_END = """
def test_end():
    GO.set()
    DONE.wait()
"""


def run(pytester: pytest.Pytester, body: str, config: str = "") -> pytest.RunResult:
    pytester.makepyprojecttoml("[tool.pytest.ini_options]\naddopts = ['-p', 'no:cacheprovider']\n" + config)
    pytester.makepyfile(test_it=_HEAD + body + _END)
    return pytester.runpytest_subprocess()


@pytest.mark.parametrize(
    ("start", "name"),
    [
        ('threading.Thread(target=later, name="reader", daemon=True).start()', "The thread reader"),
        ("_thread.start_new_thread(later, ())", "A thread of _thread"),
        ("ThreadPoolExecutor(1, 'pool').submit(later)", "The thread pool_0"),
    ],
)
@pytest.mark.parametrize("mark", ["no_sync", "sync_budget(3)"])
def test_a_thread_that_goes_on_after_its_test_is_said(
    pytester: pytest.Pytester, start: str, name: str, mark: str
) -> None:
    found = run(
        pytester,
        f"""
@pytest.mark.{mark}
def test_left():
    torch.ones(8, device="cuda")
    {start}
""",
    )
    found.assert_outcomes(passed=1, failed=1)
    found.stdout.fnmatch_lines([f"*{name} was still running when the test ended*"])


def test_the_policy_may_let_it_pass(pytester: pytest.Pytester) -> None:
    body = """
@pytest.mark.no_sync
def test_left():
    torch.ones(8, device="cuda")
    threading.Thread(target=later).start()
"""
    run(pytester, body, "[tool.syncwatch]\nunwatched = 'log'\n").assert_outcomes(passed=2)


def test_threads_that_end_are_idle_or_were_there_before_are_not(pytester: pytest.Pytester) -> None:
    found = run(
        pytester,
        """
@pytest.fixture
def reader():
    threading.Thread(target=later).start()

@pytest.mark.no_sync
def test_before(reader):
    torch.ones(8, device="cuda")

POOL = ThreadPoolExecutor(2)

@pytest.mark.no_sync
def test_idle():
    POOL.submit(lambda: torch.ones(8, device="cuda")).result()

@pytest.mark.no_sync
def test_ends():
    told = threading.Event()
    threading.Thread(target=lambda: told.wait() and torch.ones(8, device="cuda")).start()
    told.set()
    torch.ones(8, device="cuda")
""",
    )
    found.assert_outcomes(passed=4)


def test_what_it_waits_for_while_it_ends_is_the_tests(pytester: pytest.Pytester) -> None:
    found = run(
        pytester,
        """
@pytest.mark.no_sync
def test_ends():
    GO.set()
    threading.Thread(target=later).start()
""",
    )
    found.assert_outcomes(passed=1, failed=1)
    found.stdout.fnmatch_lines(["*test_ends - Failed: no_sync: SW101*"])
