"""Tells whether a test module uses our markers or our fixture. Read from its source, before it is imported."""

from __future__ import annotations

import ast
import tokenize
from functools import cache
from pathlib import Path

from syncwatch.pytest_plugin.marks import HELP

FIXTURE = "syncwatch"
_WORDS = frozenset({*HELP, FIXTURE})


@cache
def uses_markers(path: Path) -> bool:
    """Return whether the file at `path` names our markers or our fixture; False where it cannot be read."""
    try:
        with tokenize.open(path) as file:
            source = file.read()
        # Most modules end here, and are parsed once: by pytest.
        return any(word in source for word in _WORDS) and any(map(_names_us, ast.walk(ast.parse(source))))
    except (OSError, SyntaxError, ValueError, RecursionError):
        return False


def _names_us(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr in HELP
    if isinstance(node, ast.Name):
        return node.id in HELP
    if isinstance(node, ast.arg):
        return node.arg == FIXTURE
    # `usefixtures("syncwatch")`, `getattr(pytest.mark, "no_sync")`. To import the package says nothing: a test may
    # watch by itself, and choose its device.
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in _WORDS
