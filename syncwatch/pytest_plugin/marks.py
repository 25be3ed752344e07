"""What a marker asks of its test, as data, and whether a test module uses our markers at all."""

from __future__ import annotations

import ast
import tokenize
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from syncwatch.errors import UsageError

NO_SYNC, SYNC_BUDGET = "no_sync", "sync_budget"
WORDS = ("implicit", "explicit")
"""What `kinds` takes beside cause codes."""

HELP = {
    NO_SYNC: "no_sync(kinds=..., allow=...): fail if a line in the test makes the CPU wait for the GPU; kinds: "
    "'implicit', 'explicit' or cause codes that count, all without it; allow: codes that may wait, or a mapping of "
    "codes to reasons.",
    SYNC_BUDGET: "sync_budget(n, kinds=..., allow=...): the same, but n waits a step may stay.",
}
"""What `pytest --markers` says of each."""


@dataclass(frozen=True, slots=True)
class Limit:
    """How much a test may wait."""

    marker: str
    syncs: float | None
    """A step; None for none at all, but for what the baseline knows."""
    kinds: tuple[str, ...]
    """Empty for all."""
    allowed: tuple[tuple[str, str], ...]
    """Cause code and reason."""


def limit_of(marks: Iterable[pytest.Mark]) -> Limit | None:
    """Return what the nearest of our markers asks, given the nearest first; None where there is none.

    Raises:
        UsageError: if its arguments make no sense, with how to write them.
    """
    for mark in marks:
        if mark.name == NO_SYNC:
            return _no_sync(mark)
        if mark.name == SYNC_BUDGET:
            return _sync_budget(mark)
    return None


def _no_sync(mark: pytest.Mark) -> Limit:
    if mark.args:
        raise UsageError(f"no_sync takes no number, and was given {mark.args[0]!r}. Use sync_budget({mark.args[0]!r}).")
    return _limit(mark, None, dict(mark.kwargs))


def _sync_budget(mark: pytest.Mark) -> Limit:
    named = dict(mark.kwargs)
    arguments = [*mark.args, *([named.pop("n")] if "n" in named else [])]
    if len(arguments) != 1 or isinstance(arguments[0], bool) or not isinstance(arguments[0], int | float):
        raise UsageError("sync_budget takes one number, the waits that may stay. Write it as sync_budget(2).")
    if not arguments[0] >= 0:
        raise UsageError(f"sync_budget takes a number from 0 up, and {arguments[0]!r} is none.")
    return _limit(mark, float(arguments[0]), named)


def _limit(mark: pytest.Mark, syncs: float | None, named: dict[str, object]) -> Limit:
    kinds, allowed = named.pop("kinds", ()), named.pop("allow", ())
    if named:
        raise UsageError(f"{mark.name} has no argument {next(iter(named))!r}. It takes kinds and allow.")
    reasons = dict(allowed) if isinstance(allowed, Mapping) else dict.fromkeys(_words(allowed), f"by {mark.name}")
    for code in (*(kind for kind in _words(kinds) if kind not in WORDS), *reasons):
        _require_code(mark.name, code)
    return Limit(mark.name, syncs, _words(kinds), tuple((code, str(reason)) for code, reason in reasons.items()))


def _words(value: object) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)  # type: ignore[arg-type]


def _require_code(marker: str, code: object) -> None:
    from syncwatch.attribute.causes import CAUSES
    from syncwatch.judge.allows import require_code

    if not isinstance(code, str):
        raise UsageError(f"{marker} names a cause by its code, such as 'SW101', and {code!r} is none.")
    require_code(code, CAUSES, f"The marker {marker}")


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
