"""How stacks are recorded: each once, with file, line, function and code, and without paths of the machine."""

from __future__ import annotations

import os
import sys
import threading
import types
from pathlib import Path
from types import FrameType

import pytest

from syncwatch.attribute.stacks import is_user
from syncwatch.model.events import Frame
from syncwatch.sense import stacks
from syncwatch.sense.stacks import StackTable, display_path

ROOT = Path(__file__).parents[3]


def captured(table: StackTable) -> int:
    return table.intern(sys._getframe(1))


def test_one_line_reached_twice_is_one_stack() -> None:
    table = StackTable()

    ids = [captured(table) for _ in range(3)]

    assert len(set(ids)) == 1


def test_two_calls_on_one_line_are_two_stacks_of_one_line() -> None:
    table = StackTable()

    ids = {captured(table), captured(table)}

    frames, stacks = table.freeze()
    assert len(ids) == 2
    assert len({frames[stack[0]].line for stack in stacks}) == 1


def test_a_frame_tells_file_line_function_and_code() -> None:
    table = StackTable()
    captured(table)

    frames, stacks = table.freeze()

    innermost = frames[stacks[0][0]]
    assert innermost.file == "tests/unit/sense/test_stacks.py"
    assert innermost.function.endswith("test_a_frame_tells_file_line_function_and_code")
    assert innermost.code == "captured(table)"
    if sys.version_info >= (3, 11):
        assert innermost.expression == "captured(table)"


def test_paths_say_nothing_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import rich
    import torch

    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != os.sep])
    assert display_path(str(torch.__file__), ROOT) == "torch/__init__.py"
    assert display_path(str(rich.__file__), ROOT) == "rich/__init__.py"
    assert display_path(os.__file__, ROOT) == "<stdlib>/os.py"
    assert display_path(str(tmp_path / "secret" / "prog.py"), ROOT) == "prog.py"
    assert display_path("<string>", ROOT) == "<string>"


class Truth:
    """An object that captures the stack when Python asks whether it is true."""

    def __init__(self, table: StackTable) -> None:
        self.table = table

    def any(self) -> Truth:
        return self

    def __bool__(self) -> bool:
        self.table.intern(sys._getframe(1))
        return True


def asked(table: StackTable) -> tuple[str | None, int, bool]:
    frames, stacks = table.freeze()
    innermost = frames[stacks[0][0]]
    assert innermost.function.endswith("asks")
    return innermost.expression, innermost.line - asks.__code__.co_firstlineno, innermost.branches


def asks(form: str, value: Truth, known: bool = True) -> int:
    if form == "one line" and value.any():
        return 1
    # fmt: off
    if form == "several lines" and (
        not known or value.any()
    ):
        return 2
    # fmt: on
    return 3 if form == "not" and not value else 4


@pytest.mark.skipif(sys.version_info < (3, 11), reason="no columns are recorded")
@pytest.mark.parametrize(
    ("form", "found"),
    [("one line", ("value.any()", 1, True)), ("several lines", ("value.any()", 5, True)), ("not", ("value", 9, True))],
)
def test_a_truth_test_is_placed_where_its_value_was_made(form: str, found: tuple[str, int, bool]) -> None:
    table = StackTable()

    asks(form, Truth(table))

    assert asked(table) == found


@pytest.mark.parametrize(
    ("package", "folder"),
    [
        ("torch", "checkouts/pytorch/torch"),
        ("numpy", ".venv/lib/python3.11/site-packages/numpy"),
        ("syncwatch", "third_party/syncwatch/syncwatch"),
        ("triton", "triton/python/triton"),
    ],
)
def test_a_library_below_the_project_stays_a_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, folder: str
) -> None:
    installed = types.ModuleType(package)
    installed.__path__ = [str(tmp_path / folder)]
    monkeypatch.setitem(sys.modules, package, installed)

    shown = display_path(str(tmp_path / folder / "inner" / "a.py"), tmp_path)

    assert shown == f"{package}/inner/a.py"
    assert not is_user(Frame(shown, 1, "f", "", None))


@pytest.mark.parametrize(
    ("file", "shown"),
    [
        ("syncwatch_tools/a.py", "syncwatch_tools/a.py"),
        ("syncwatch/a.py", "./syncwatch/a.py"),
        ("torch/train.py", "./torch/train.py"),
        ("runs/syncwatch/a.py", "runs/syncwatch/a.py"),
        ("syncwatch.py", "syncwatch.py"),
    ],
)
def test_a_file_of_the_users_is_theirs_whatever_its_folder_is_called(tmp_path: Path, file: str, shown: str) -> None:
    found = display_path(str(tmp_path / file), tmp_path)
    assert found == shown
    assert is_user(Frame(found, 1, "f", "", None))


def test_paths_start_from_the_project_wherever_the_command_is_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / "sub" / "inner").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "sub" / "inner")
    assert display_path(str(tmp_path / "sub" / "a.py"), StackTable().root) == "sub/a.py"

    (tmp_path / "sub" / "pyproject.toml").write_text("[tool.syncwatch]\n")
    assert display_path(str(tmp_path / "sub" / "a.py"), StackTable().root) == "a.py"


def test_a_folder_that_is_gone_takes_no_path_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert StackTable().root is None
    assert display_path("a.py", None) == "a.py"


def test_a_stack_that_is_taken_while_another_is_new_has_a_number_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where Python collects garbage meanwhile, and what frees memory of the GPU is a driver call."""
    table, inner = StackTable(), list[int]()
    walked = stacks._walked

    def collecting(frame: FrameType | None) -> object:
        if not inner:
            inner.append(-1)
            inner[0] = table.intern(sys._getframe())
        return walked(frame)

    monkeypatch.setattr(stacks, "_walked", collecting)
    outer: list[int] = []
    thread = threading.Thread(target=lambda: outer.append(table.intern(sys._getframe())), daemon=True)
    thread.start()
    thread.join(60)

    assert outer and outer[0] != inner[0]
    frames, found = table.freeze()
    assert [frames[found[number][0]].function.rpartition(".")[2] for number in (outer[0], inner[0])] == [
        "<lambda>",
        "collecting",
    ]
