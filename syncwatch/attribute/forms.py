"""What a piece of source does, as far as its text tells: calls, subscripts, truth tests."""

from __future__ import annotations

import ast
import re
import warnings
from dataclasses import dataclass
from functools import lru_cache

_STATEMENT = re.compile(r"(if|elif|while|assert|not)\b")
_CALL = re.compile(r"([A-Za-z_][\w.]*|\.\w+)\s*\(")
_ASSIGN = r"\s*(?:[-+*/%@&|^]|//|\*\*|<<|>>)?=(?!=)"


@dataclass(frozen=True, slots=True)
class SourceCall:
    """A call in the source."""

    name: str
    """The last part: `tolist` of `x.sum().tolist()`."""
    path: str
    """The dotted name as far as it is one: `torch.linalg.inv`; `.tolist` where it hangs on an expression."""
    arguments: int | None
    """How many positional arguments; None where the text was too broken to count."""
    text: str
    """The arguments as text."""

    @property
    def builtin(self) -> bool:
        """Return whether this is a bare name, as `int(x)`."""
        return self.path == self.name


@dataclass(frozen=True, slots=True)
class Subscript:
    """An indexing in the source."""

    store: bool
    """Whether it is assigned to."""
    from_list: bool
    """Whether an index is spelled as a Python list."""
    from_bound: bool
    """Whether a slice has a bound that is no constant."""
    view: bool = False
    """Whether the index is made of slices and constants alone, so that no index has to be computed or copied."""


@dataclass(frozen=True, slots=True)
class SourceForm:
    """What a piece of source does."""

    exact: bool
    """Whether this is the very call that ran, rather than everything on its line."""
    calls: tuple[SourceCall, ...] = ()
    subscripts: tuple[Subscript, ...] = ()
    truth: bool = False
    """Whether a value is tested for truth."""
    formats: bool = False
    """Whether a value is put into a string."""


@lru_cache(maxsize=4096)
def form_of(expression: str | None, line: str) -> SourceForm:
    """Return the form of the running expression, or of the whole line where no expression was recorded.

    Args:
        expression: the source text of the instruction that ran (Python 3.11 and later).
        line: the source line, stripped.
    """
    if not expression:
        return _line_form(line)
    # Before 3.12 the jump of an `if` carries the position of the whole statement, its body too.
    if _STATEMENT.match(expression):
        return SourceForm(exact=True, truth=True)
    node = _parse(expression, "eval")
    if not isinstance(node, ast.Expression):
        # From 3.12 on a field of an f-string is recorded by itself, as `{loss:.3f}`.
        return SourceForm(exact=True, formats=expression.startswith("{"))
    return _outermost(node.body, expression, line)


@lru_cache(maxsize=4096)
def is_tested(expression: str | None, line: str) -> bool:
    """Return whether the value of `expression` decides something on its line: a branch, a loop, `and`, `or`, `not`."""
    tree = _line_tree(line)
    node = _parse(expression or "", "eval")
    if tree is None or not isinstance(node, ast.Expression):
        return re.search(r"\b(if|elif|while|assert|and|or|not)\b", line) is not None
    wanted = ast.unparse(node)
    return any(ast.unparse(test) == wanted for each in ast.walk(tree) for test in _tests(each))


def _tests(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, (ast.If, ast.While, ast.IfExp, ast.Assert)):
        return [node.test]
    if isinstance(node, ast.BoolOp):
        return node.values
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return [node.operand]
    return node.ifs if isinstance(node, ast.comprehension) else []


def _outermost(node: ast.expr, expression: str, line: str) -> SourceForm:
    if isinstance(node, ast.Await):
        node = node.value
    if isinstance(node, ast.Call):
        return SourceForm(exact=True, calls=(_call(node),))
    if isinstance(node, ast.Subscript):
        # The position of a store is its target, so that only the line tells it from a load.
        store = re.search(re.escape(expression) + _ASSIGN, line) is not None
        # A statement that begins with `x[` and goes on for lines is an assignment: a load would go nowhere.
        broken = bool(line) and expression.startswith(line) and expression != line
        return SourceForm(exact=True, subscripts=(_subscript(node, store or broken),))
    if isinstance(node, (ast.JoinedStr, ast.FormattedValue, ast.Set)):
        return SourceForm(exact=True, formats=True)
    tests = (ast.BoolOp, ast.Compare, ast.IfExp, ast.Name, ast.Attribute, ast.ListComp, ast.SetComp, ast.GeneratorExp)
    negation = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
    return SourceForm(exact=True, truth=negation or isinstance(node, tests))


def _line_form(line: str) -> SourceForm:
    tree = _line_tree(line)
    if tree is not None:
        return _whole(tree)
    calls = tuple(
        SourceCall(path.rpartition(".")[2], path, None, line)
        for path in _CALL.findall(line)
        if path not in ("if", "in")
    )
    subscripts = (
        (Subscript("] =" in line or line.endswith("["), "[[" in line, False),) if re.search(r"\w\[", line) else ()
    )
    return SourceForm(exact=False, calls=calls, subscripts=subscripts, truth=bool(_STATEMENT.match(line)))


def _line_tree(line: str) -> ast.AST | None:
    """Return one line of a program, parsed, with the body that it may lack."""
    for text in (line, f"{line} pass", f"if {line[5:]} pass" if line.startswith("elif ") else line):
        tree = _parse(text, "exec")
        if tree is not None:
            return tree
    return None


def _whole(tree: ast.AST) -> SourceForm:
    nodes = list(ast.walk(tree))
    truth = (ast.If, ast.While, ast.Assert, ast.IfExp, ast.BoolOp, ast.Not)
    return SourceForm(
        exact=False,
        calls=tuple(_call(node) for node in nodes if isinstance(node, ast.Call)),
        subscripts=tuple(
            _subscript(node, isinstance(node.ctx, ast.Store)) for node in nodes if isinstance(node, ast.Subscript)
        ),
        truth=any(isinstance(node, truth) or (isinstance(node, ast.comprehension) and node.ifs) for node in nodes),
        formats=any(isinstance(node, ast.JoinedStr) for node in nodes),
    )


def _call(node: ast.Call) -> SourceCall:
    parts: list[str] = []
    target: ast.expr = node.func
    while isinstance(target, ast.Attribute):
        parts.append(target.attr)
        target = target.value
    parts.append(target.id if isinstance(target, ast.Name) else "")
    parts.reverse()
    text = ", ".join([ast.unparse(arg) for arg in node.args] + [ast.unparse(keyword) for keyword in node.keywords])
    spread = any(isinstance(arg, ast.Starred) for arg in node.args)
    return SourceCall(parts[-1], ".".join(parts), None if spread else len(node.args), text)


def _subscript(node: ast.Subscript, store: bool) -> Subscript:
    index = node.slice
    parts = index.elts if isinstance(index, ast.Tuple) else [index]
    bounds = [bound for part in parts if isinstance(part, ast.Slice) for bound in (part.lower, part.upper, part.step)]
    return Subscript(
        store=store,
        from_list=any(isinstance(part, (ast.List, ast.ListComp)) for part in parts),
        from_bound=any(bound is not None and not _constant(bound) for bound in bounds),
        view=all(isinstance(part, ast.Slice) or _constant(part) for part in parts),
    )


def _constant(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) or (isinstance(node, ast.UnaryOp) and isinstance(node.operand, ast.Constant))


def _parse(text: str, mode: str) -> ast.AST | None:
    try:
        with warnings.catch_warnings():
            # The user's source may hold an invalid escape; it is not ours to warn of.
            warnings.simplefilter("ignore")
            return ast.parse(text, mode=mode)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None
