"""The rules of structure that no linter checks: which package may import which, and what must not exist."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.house import cycles_of, edges_of, imports_of, product, tree_of

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "syncwatch"
EVERYWHERE = ("syncwatch.model", "syncwatch.errors", "syncwatch.version")
STAGES = ("sense", "attribute", "analyse", "judge", "report", "traces")
LAYERS: dict[str, tuple[str, ...]] = {
    "syncwatch.model": (),
    "syncwatch.compat": (),
    **{f"syncwatch.{stage}": () for stage in STAGES},
    # The CUDA sensor reads what torch's profiler wrote with the one reader of that format.
    "syncwatch.sense": ("syncwatch.traces", "syncwatch.compat"),
    "syncwatch.pipeline": tuple(f"syncwatch.{stage}" for stage in STAGES),
    "syncwatch.bench": ("syncwatch.sense", "syncwatch.compat"),
    "syncwatch.app": ("syncwatch.pipeline", "syncwatch.bench", *(f"syncwatch.{stage}" for stage in STAGES)),
    "syncwatch.cli": (
        *("syncwatch.app", "syncwatch.pipeline", "syncwatch.bench", "syncwatch.compat"),
        *(f"syncwatch.{stage}" for stage in STAGES),
    ),
    "syncwatch.pytest_plugin": (
        *("syncwatch.app", "syncwatch.pipeline", "syncwatch.cli.outputs"),
        *("syncwatch.sense", "syncwatch.attribute", "syncwatch.judge", "syncwatch.report"),
    ),
    "syncwatch_kernels": (),
    "syncwatch_scenarios": ("syncwatch.bench", "syncwatch.sense", "syncwatch.pipeline", "syncwatch_kernels"),
    "syncwatch": ("syncwatch.app", "syncwatch.sense.scopes.ranges"),
    "syncwatch.__main__": ("syncwatch.cli.entry",),
}
"""What each package may import beside itself and `EVERYWHERE`. It has no cycles, so no two packages import each other.

Kernels import nothing of syncwatch at all.
"""
MAY_IMPORT_TORCH = (
    "syncwatch.sense",
    "syncwatch.bench",
    "syncwatch.compat",
    "syncwatch_kernels",
    "syncwatch_scenarios",
)
MODULES = product()
TREES = {name: tree_of(path) for name, path in MODULES.items()}


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def layer_of(module: str) -> str:
    """Return the layer that `module` is in: the one with the longest name; the bare package holds only itself."""
    found = [layer for layer in LAYERS if within(module, layer) and (layer != "syncwatch" or module == layer)]
    assert found or module in EVERYWHERE, f"{module} is in no layer"
    return max(found, key=len, default=module)


def foreign_imports(tree: ast.Module) -> Iterator[str]:
    """Yield every module that is imported anywhere in `tree`, ours or not."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module is not None, f"line {node.lineno} imports relatively"
            yield node.module


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_what_its_layer_may(module: str) -> None:
    layer = layer_of(module)
    may = (*LAYERS.get(layer, ()), layer, *EVERYWHERE)
    if layer == "syncwatch_kernels":
        may = (layer,)
    imported = {to for to, _ in imports_of(TREES[module], MODULES)}
    if layer == "syncwatch_scenarios":
        # As a user's own package would: the public names.
        imported -= {"syncwatch"}
    assert not {to for to in imported if not any(within(to, known) for known in may)}


@pytest.mark.parametrize("module", MODULES)
def test_torch_stays_at_the_edge(module: str) -> None:
    foreign = set(foreign_imports(TREES[module]))
    if not module.startswith(MAY_IMPORT_TORCH):
        assert not {name for name in foreign if within(name, "torch") or within(name, "triton")}


def test_no_modules_import_one_another_in_a_circle_not_even_lazily_or_for_types() -> None:
    assert cycles_of(edges_of(TREES, MODULES)) == []


def test_a_circle_would_be_found() -> None:
    trees = {
        "a": ast.parse("import b"),
        "b": ast.parse("def f():\n    from c import x"),
        "c": ast.parse("if TYPE_CHECKING:\n    import a"),
        "d": ast.parse("import a"),
    }
    assert cycles_of(edges_of(trees, {name: Path(name) for name in trees})) == [["a", "b", "c"]]


def test_the_pipeline_fits_on_one_page() -> None:
    assert len((PACKAGE / "pipeline.py").read_text().splitlines()) < 85


def test_the_root_holds_the_public_names_and_the_pipeline_alone() -> None:
    assert {path.name for path in PACKAGE.glob("*.py")} == {
        *("__init__.py", "__main__.py", "errors.py", "pipeline.py", "version.py")
    }


@pytest.mark.parametrize("folder", ["kernels", "scenarios"])
def test_the_top_level_folders_are_no_packages(folder: str) -> None:
    assert not (ROOT / folder / "__init__.py").exists(), f"`import {folder}` must stay free for others"
