"""The house rules that no linter knows: who may import whom, and what must not exist."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "syncwatch"
STAGES = ("sense", "attribute", "analyse", "judge", "report", "traces")
SHARED = ("syncwatch.model", "syncwatch.compat", "syncwatch.errors", "syncwatch.__version__")
MAY_ALSO_IMPORT = {"sense": ("syncwatch.traces",)}
"""The CUDA sensor reads what torch's profiler wrote with the one reader of that format."""
MAY_IMPORT_TORCH = ("sense", "bench", "compat")


def imports_of(path: Path) -> Iterator[str]:
    """Yield the absolute name of every module that `path` imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            assert node.module is not None
            if node.module == "syncwatch":
                yield from (f"syncwatch.{alias.name}" for alias in node.names)
            else:
                yield node.module


def files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (PACKAGE / folder).rglob("*.py"))


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


@pytest.mark.parametrize("path", files(*STAGES), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_stage_knows_the_model_and_no_other_stage(path: Path) -> None:
    stage = path.relative_to(PACKAGE).parts[0]
    known = (*SHARED, f"syncwatch.{stage}", *MAY_ALSO_IMPORT.get(stage, ()))
    foreign = [
        module
        for module in imports_of(path)
        if within(module, "syncwatch") and not any(within(module, each) for each in known)
    ]
    assert not foreign


@pytest.mark.parametrize("path", files("model"), ids=lambda path: path.name)
def test_the_model_knows_only_itself_and_the_errors(path: Path) -> None:
    assert all(any(within(name, known) for known in SHARED) for name in imports_of(path) if within(name, "syncwatch"))


@pytest.mark.parametrize("path", files("."), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_torch_stays_at_the_edge(path: Path) -> None:
    if path.relative_to(PACKAGE).parts[0] in MAY_IMPORT_TORCH:
        return
    assert not [module for module in imports_of(path) if within(module, "torch") or within(module, "triton")]


def test_the_pipeline_fits_on_one_page() -> None:
    assert len((PACKAGE / "pipeline.py").read_text().splitlines()) < 60


@pytest.mark.parametrize("folder", ["kernels", "scenarios"])
def test_the_top_level_folders_are_no_packages(folder: str) -> None:
    assert not (ROOT / folder / "__init__.py").exists(), f"`import {folder}` must stay free for others"
