"""Which of the functions that a policy requires have run during a watch."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from syncwatch.errors import NotMeasuredError, UsageError
from syncwatch.sense.reached import ReachedFunctions

SOURCE = """
import functools

def plain():
    return 1

def wrapped(function):
    @functools.wraps(function)
    def inner():
        return function()
    return inner

@wrapped
def decorated():
    return 2

def outer():
    def inner():
        return 3
    return inner()

class Model:
    def forward(self):
        return 4
"""


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    made = ModuleType("app_reached")
    exec(compile(SOURCE, "app_reached.py", "exec"), made.__dict__)
    monkeypatch.setitem(sys.modules, "app_reached", made)
    return made


@pytest.fixture(autouse=True)
def no_other_tracer() -> Any:
    """Set a coverage tool's trace function aside, which would rightly be refused."""
    before = sys.gettrace()
    sys.settrace(None)
    yield
    sys.settrace(before)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("plain", lambda module: module.plain()),
        ("decorated", lambda module: module.decorated()),
        ("outer.<locals>.inner", lambda module: module.outer()),
        ("Model.forward", lambda module: module.Model().forward()),
        ("plain", lambda module: [module.plain() for _ in range(3)]),
        ("plain", lambda module: _on_a_thread(module.plain)),
    ],
)
def test_a_function_that_ran_was_reached_and_the_others_were_not(
    module: Any, name: str, call: Callable[[Any], object]
) -> None:
    reached = ReachedFunctions((f"app_reached:{name}", "app_reached:missing", "other:plain"))
    with reached:
        call(module)
    assert reached.missing() == ("app_reached:missing", "other:plain")


def test_what_ran_before_and_after_does_not_count(module: Any) -> None:
    module.plain()
    reached = ReachedFunctions(("app_reached:plain",))
    with reached:
        pass
    module.plain()
    assert reached.missing() == ("app_reached:plain",)


def test_a_second_watch_sees_again_what_the_first_saw(module: Any) -> None:
    for _ in range(2):
        with ReachedFunctions(("app_reached:plain",)) as reached:
            module.plain()
        assert reached.missing() == ()


def test_a_script_has_its_own_name_and_main() -> None:
    reached = ReachedFunctions(("train:step", "__main__:step", "train:other"))
    with reached:
        exec(compile("def step(): ...\nstep()", "somewhere/train.py", "exec"), {"__name__": "__main__"})
    assert reached.missing() == ("train:other",)


def test_nothing_is_left_behind(module: Any) -> None:
    with ReachedFunctions(("app_reached:plain",)):
        module.plain()
    assert sys.gettrace() is None
    assert threading.gettrace() is None if hasattr(threading, "gettrace") else True


@pytest.mark.parametrize("name", ["plain", "app_reached", ":plain", "app_reached:", "app_reached: plain"])
def test_what_names_no_function_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="names no function"):
        ReachedFunctions((name,))


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="sys.monitoring has room for several tools")
def test_a_debugger_is_not_pushed_aside() -> None:
    sys.settrace(lambda *_: None)
    with pytest.raises(NotMeasuredError, match="debugger or coverage"), ReachedFunctions(("app_reached:plain",)):
        pass


def _on_a_thread(function: Callable[[], object]) -> None:
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()
