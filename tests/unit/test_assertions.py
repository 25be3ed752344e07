"""Every test asserts something: a test that cannot fail is no test."""

from __future__ import annotations

import ast
from pathlib import Path

TESTS = Path(__file__).parents[1]
FAILS = ("raises", "fail", "warns", "fnmatch_lines")
"""What fails a test beside `assert` and functions whose name begins with `assert`; the last is pytester's."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def names_called(function: Function) -> set[str]:
    """Return the last word of every name that `function` calls."""
    called = [node.func for node in ast.walk(function) if isinstance(node, ast.Call)]
    return {each.attr if isinstance(each, ast.Attribute) else getattr(each, "id", "") for each in called}


def can_fail(function: Function, helpers: set[str]) -> bool:
    """Return whether `function` asserts, by itself or through one of `helpers`."""
    if any(isinstance(node, ast.Assert) for node in ast.walk(function)):
        return True
    return any(name in FAILS or name in helpers or name.startswith("assert") for name in names_called(function))


def test_every_test_asserts_something() -> None:
    found: list[tuple[str, Function]] = [
        (f"{path.relative_to(TESTS)}::{node.name}", node)
        for path in sorted(TESTS.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    helpers: set[str] = set()
    # Helpers call helpers: until none is added.
    while more := {
        node.name
        for _, node in found
        if not node.name.startswith("test_") and node.name not in helpers and can_fail(node, helpers)
    }:
        helpers |= more
    tests = [(where, node) for where, node in found if node.name.startswith("test_")]

    assert len(tests) > 1000
    assert not [where for where, node in tests if not can_fail(node, helpers)]
