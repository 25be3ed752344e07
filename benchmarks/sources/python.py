"""Finds where torch's Python sources read values or move tensors to the host."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

METHODS = {
    "item": "item",
    "tolist": "to the host",
    "cpu": "to the host",
    "numpy": "to the host",
    "nonzero": "size by values",
    "masked_select": "size by values",
    "argwhere": "size by values",
    "unique": "size by values",
    "unique_consecutive": "size by values",
    "bincount": "size by values",
    "repeat_interleave": "size by values",
    "coalesce": "size by values",
    "equal": "equal",
    "allclose": "truth of a tensor",
    "is_nonzero": "truth of a tensor",
    "synchronize": "synchronize()",
}
_TRUTHS = {"any", "all", "isfinite", "isnan", "isinf", "eq", "ne", "lt", "gt", "le", "ge"}


@dataclass(frozen=True, slots=True)
class PythonPlaces:
    """The lines of one function at which one pattern was found."""

    file: str
    function: str
    pattern: str
    lines: tuple[int, ...]

    @property
    def key(self) -> str:
        """The name of the place: file, function and pattern."""
        return f"{self.file}:{self.function}:{self.pattern}"


class _Finder(ast.NodeVisitor):
    def __init__(self) -> None:
        self.within: list[str] = []
        self.found: dict[tuple[str, str], set[int]] = {}

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
        self.within.append(node.name)
        self.generic_visit(node)
        self.within.pop()

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815
    visit_ClassDef = visit_FunctionDef  # noqa: N815

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Attribute):
            pattern = METHODS.get(node.func.attr)
            if pattern and not (pattern == "item" and node.args):
                self._add(pattern, node.lineno)
            elif node.func.attr == "to" and any(_is_cpu(each) for each in node.args):
                self._add("to the host", node.lineno)
        self.generic_visit(node)

    def visit_If(self, node: ast.If | ast.While | ast.Assert | ast.IfExp) -> None:
        for part in _parts(node.test):
            if isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute) and part.func.attr in _TRUTHS:
                self._add("truth of a tensor", part.lineno)
        self.generic_visit(node)

    visit_While = visit_If  # noqa: N815
    visit_Assert = visit_If  # noqa: N815
    visit_IfExp = visit_If  # noqa: N815

    def _add(self, pattern: str, line: int) -> None:
        self.found.setdefault((".".join(self.within) or "<module>", pattern), set()).add(line)


def _is_cpu(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value == "cpu"


def _parts(test: ast.expr) -> Iterator[ast.expr]:
    if isinstance(test, ast.BoolOp):
        for value in test.values:
            yield from _parts(value)
    elif isinstance(test, ast.UnaryOp):
        yield from _parts(test.operand)
    else:
        yield test


def read_python(path: Path, root: Path) -> list[PythonPlaces]:
    """Return the places in one file; a file that is not valid Python, such as a template, has none."""
    try:
        tree = ast.parse(path.read_text(errors="replace"))
    except SyntaxError:
        return []
    finder = _Finder()
    finder.visit(tree)
    file = str(path.relative_to(root))
    return [
        PythonPlaces(file, function, pattern, tuple(sorted(lines)))
        for (function, pattern), lines in sorted(finder.found.items())
    ]
