"""The rules name the right cause for frames that this Python really records of running lines; torch is not used."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from syncwatch.model.events import Frame
from syncwatch.sense.stacks import StackTable
from tests.helpers.attributed import findings_of
from tests.helpers.fakes import Stacks, recording, sync


class Spy:
    """Records the stack of whoever touches it, as a hook inside torch would."""

    def __init__(self, table: StackTable) -> None:
        self._table = table

    def _touch(self) -> None:
        self._table.intern(sys._getframe(2))

    def __bool__(self) -> bool:
        self._touch()
        return False

    def __float__(self) -> float:
        self._touch()
        return 1.0

    def __index__(self) -> int:
        self._touch()
        return 1

    def __getitem__(self, index: object) -> Spy:
        self._touch()
        return self

    def __setitem__(self, index: object, value: object) -> None:
        self._touch()

    def __lt__(self, other: object) -> Any:
        return self

    def __format__(self, spec: str) -> str:
        self._touch()
        return ""

    def item(self) -> float:
        self._touch()
        return 1.0

    def tolist(self) -> list[float]:
        self._touch()
        return []

    def any(self) -> Spy:
        return self


def branch(t: Spy) -> object:
    if t:
        return 1
    return 0


def branch_on_a_call(t: Spy) -> object:
    if t.any():
        return 1
    return 0


def loop_while(t: Spy) -> object:
    while t < 3:
        pass
    return None


def conditional(t: Spy) -> object:
    return 1 if t else 2


def negation(t: Spy) -> object:
    return not t


def comprehension(t: Spy) -> object:
    return [each for each in (1,) if t]


def branch_on_an_item(t: Spy) -> object:
    if t.item() > 3:
        return 1
    return 0


def number(t: Spy) -> object:
    return float(t)


def item_within_a_long_expression(t: Spy) -> object:
    return print, (1 + t.item(), "text")


def items(t: Spy) -> object:
    return [each.item() for each in (t,)]


def split_over_lines(t: Spy) -> object:
    return (
        t
        .any()
        .tolist()
    )  # fmt: skip


def listed(t: Spy) -> object:
    return sorted(t.tolist())


def load(t: Spy) -> object:
    mask = t
    return t[mask]


def store(t: Spy) -> object:
    mask = t
    t[mask] = 3
    return None


def store_over_lines(t: Spy) -> object:
    t[
        t
    ] = 3  # fmt: skip
    return None


def formatted(t: Spy) -> object:
    return f"{t:.3f}"


def bound(t: Spy) -> object:
    return [1, 2, 3][:t]


EXPECTED: dict[Callable[[Spy], object], str] = {
    branch: "SW103",
    branch_on_a_call: "SW103",
    loop_while: "SW103",
    conditional: "SW103",
    negation: "SW103",
    comprehension: "SW103",
    branch_on_an_item: "SW101",
    number: "SW101",
    item_within_a_long_expression: "SW101",
    items: "SW101",
    split_over_lines: "SW102",
    listed: "SW102",
    load: "SW201",
    store: "SW208",
    store_over_lines: "SW208",
    formatted: "SW105",
    bound: "SW305",
}


@pytest.mark.parametrize("operator", [None, "measured"])
@pytest.mark.parametrize("function", EXPECTED, ids=lambda function: function.__name__)
def test_a_line_of_python_is_named(function: Callable[[Spy], object], operator: str | None) -> None:
    # GIVEN the frames of a line that touched a value
    table = StackTable()
    function(Spy(table))
    frames, ids = table.freeze()

    # WHEN they come from a sensor that knows the operator, or from one that does not
    op = None
    if operator:
        op = {"SW201": "aten.nonzero", "SW208": "aten.index_put_"}.get(EXPECTED[function], "aten._local_scalar_dense")
    stacks = Stacks()
    stack = stacks.add(*(frames[index] for index in ids[0]))
    (found,) = findings_of(recording(syncs=[sync(stack=stack, op=op)], stacks=stacks))

    # THEN
    assert found.code == EXPECTED[function]
    assert found.function == function.__name__ or sys.version_info < (3, 12)


def test_the_frame_is_this_file() -> None:
    table = StackTable()
    number(Spy(table))
    frame: Frame = table.freeze()[0][0]
    assert frame.file.endswith("test_real_frames.py")
