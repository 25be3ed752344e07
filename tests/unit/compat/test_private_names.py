"""Undocumented names of other packages are used in `compat` alone; one that is gone is reported with what is lost."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncwatch.compat import cpython, torch_cuda, tried
from syncwatch.compat.private_name import Builds, PrivateName
from syncwatch.errors import NotMeasuredError

ROOT = Path(__file__).parents[3]
PRODUCT = [*(ROOT / "syncwatch").rglob("*.py"), *(ROOT / "kernels").rglob("*.py"), *(ROOT / "scenarios").rglob("*.py")]
PACKAGES = {"torch", "triton", "nvtx"}


def chains(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and dotted name of each chain of attributes that begins with a package's name."""
    for node in ast.walk(tree):
        parts: list[str] = []
        each = node
        while isinstance(each, ast.Attribute):
            parts.append(each.attr)
            each = each.value
        if parts and isinstance(each, ast.Name) and each.id in PACKAGES:
            yield node.lineno, ".".join([each.id, *reversed(parts)])  # type: ignore[attr-defined]


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def is_private(name: str) -> bool:
    if name.startswith("torch.ops.aten."):
        # Operators go by the names of torch's own list.
        return False
    first, *rest = name.split(".")
    return first in PACKAGES and any(part.startswith("_") and not part.startswith("__") for part in rest)


@pytest.mark.parametrize(
    "path", [path for path in PRODUCT if "compat" not in path.parts], ids=lambda path: str(path.relative_to(ROOT))
)
def test_no_undocumented_name_stands_outside_compat(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))

    assert [found for found in (*chains(tree), *imported(tree)) if is_private(found[1])] == []


def test_every_name_is_there_in_the_torch_that_is_installed() -> None:
    assert tried.gone_names() == ()
    assert len(tried.private_names()) > 40


def test_a_name_that_is_gone_is_said_with_what_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    owner = torch_cuda.CALL_AT_START.owner()
    monkeypatch.delattr(owner, torch_cuda.CALL_AT_START.attribute)

    assert tried.gone_names() == (
        "torch.cuda._lazy_call is not there: a watch initialises CUDA at its begin, not when the program does.",
    )


def test_what_needs_a_name_that_is_gone_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    name = PrivateName("torch.cuda._never_there", "2.9", "nothing works.")

    with pytest.raises(NotMeasuredError, match=r"torch\.cuda\._never_there is not there: nothing works\. It was tried"):
        name.get()
    assert name.get_or(7) == 7
    assert not PrivateName("torch.nowhere.at_all._x", "2.9", "nothing works.").is_there()


@pytest.mark.parametrize(
    ("builds", "for_cuda", "due"),
    [
        (Builds.ALL, False, True),
        (Builds.FOR_CUDA, False, False),
        (Builds.FOR_CUDA, True, True),
        (Builds.SOME_VERSIONS, True, False),
    ],
)
def test_a_name_is_missed_only_where_it_is_due(builds: Builds, for_cuda: bool, due: bool) -> None:
    assert PrivateName("torch._x", "2.9", "nothing.", builds).is_due(built_for_cuda=for_cuda) is due


def test_slots_are_not_touched_where_python_gives_others(monkeypatch: pytest.MonkeyPatch) -> None:
    cpython.slots_are_known.cache_clear()
    monkeypatch.setattr(cpython, "_ITEM", cpython._ITEM + 8)
    try:
        assert not cpython.slots_are_known()
        assert any("Tensor.__getitem__" in sentence for sentence in tried.gone_names())
    finally:
        cpython.slots_are_known.cache_clear()


def test_slots_are_not_touched_in_a_python_that_was_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    cpython.slots_are_known.cache_clear()
    monkeypatch.setattr(cpython, "_NEWEST", (3, 9))
    try:
        assert not cpython.slots_are_known()
    finally:
        cpython.slots_are_known.cache_clear()
