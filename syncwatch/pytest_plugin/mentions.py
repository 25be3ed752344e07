"""Answers: does a test module speak of syncwatch? Read from its source, before it is imported."""

from __future__ import annotations

import ast
import tokenize
from functools import cache
from pathlib import Path

from syncwatch.pytest_plugin.marks import HELP

FIXTURE = "syncwatch"
_WORDS = frozenset({*HELP, FIXTURE})


@cache
def speaks_of_us(path: Path) -> bool:
    """Return whether the file at `path` names our markers, fixture or package; False where it cannot be read."""
    try:
        with tokenize.open(path) as file:
            source = file.read()
        # Most modules end here, and are parsed once: by pytest.
        return any(word in source for word in _WORDS) and any(map(_names_us, ast.walk(ast.parse(source))))
    except (OSError, SyntaxError, ValueError, RecursionError):
        return False


def _names_us(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr in _WORDS
    if isinstance(node, ast.Name):
        return node.id in _WORDS
    if isinstance(node, ast.arg):
        return node.arg in _WORDS
    if isinstance(node, ast.Constant):
        # `usefixtures("syncwatch")`, `getattr(pytest.mark, "no_sync")`.
        return isinstance(node.value, str) and node.value in _WORDS
    if isinstance(node, ast.Import):
        return any(_is_ours(alias.name) for alias in node.names)
    return isinstance(node, ast.ImportFrom) and node.module is not None and _is_ours(node.module)


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] == FIXTURE
