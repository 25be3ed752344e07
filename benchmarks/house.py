"""Figures of the package's structure, as JSON: its modules, what they import, and those that no test imports.

    python benchmarks/house.py

Everything is read from the sources with `ast`; nothing is imported and nothing is run.
"""

from __future__ import annotations

import ast
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PRODUCT = {"syncwatch": ROOT, "syncwatch_kernels": ROOT / "kernels", "syncwatch_scenarios": ROOT / "scenarios"}
"""The packages that are installed, and the folder that holds each."""
SHORT = 40
BY_IDENTITY = ("syncwatch.sense", "syncwatch.bench", "syncwatch_kernels")
"""Packages that may use `id()` as a key: of frames, code objects and tensors, which have no better one."""
_LOOKS_UP = frozenset({"get", "setdefault", "pop", "add", "append"})


def main() -> None:
    """Print the figures."""
    print(json.dumps(figures(), indent=1))


def figures() -> dict[str, object]:
    """Return the figures by name: counts, and lists of names where those say more."""
    modules = product()
    trees = {name: tree_of(path) for name, path in modules.items()}
    repeated = Counter(path.name for path in modules.values() if path.name != "__init__.py")
    reached = {module for path in (ROOT / "tests").rglob("*.py") for module, _ in imports_of(tree_of(path), modules)}
    ids = {name: id_keys(tree) for name, tree in trees.items()}
    untested = sorted(set(modules) - reached - {name for name in modules if modules[name].name == "__init__.py"})
    cycles = cycles_of(edges_of(trees, modules))
    return {
        "modules": len(modules),
        "public_top_level_names": sum(len(list(public_names(tree))) for tree in trees.values()),
        "modules_under_40_lines": sum(len(path.read_text().splitlines()) < SHORT for path in modules.values()),
        "repeated_file_names": sum(count > 1 for count in repeated.values()),
        "id_keyed_tables": sum(count for name, count in ids.items() if not name.startswith(BY_IDENTITY)),
        "id_keyed_tables_by_identity": sum(c for name, c in ids.items() if name.startswith(BY_IDENTITY)),
        "places_that_attribute": callers_of(trees, "syncwatch.attribute", "attribute"),
        "places_that_price": callers_of(trees, "syncwatch.analyse.price", "prices", "price"),
        "import_cycles": len(cycles),
        "import_cycles_are": [" ".join(cycle) for cycle in cycles],
        "modules_no_test_imports": len(untested),
        "gerunds_at_the_root": sorted(name for name in modules if name.count(".") == 1 and _is_gerund(name)),
    }


def _is_gerund(name: str) -> bool:
    return name.startswith("syncwatch.") and name.endswith("ing")


def product() -> dict[str, Path]:
    """Return the file of every installed module by its full name."""
    found = {}
    for package, folder in PRODUCT.items():
        for path in sorted((folder / package).rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def tree_of(path: Path) -> ast.Module:
    """Return the parsed file at `path`."""
    return ast.parse(path.read_text(encoding="utf-8"))


def imports_of(tree: ast.Module, modules: Mapping[str, Path]) -> Iterator[tuple[str, int]]:
    """Yield each installed module that `tree` imports, also inside functions and for types alone, with the line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                if inner in modules or node.module in modules:
                    yield inner if inner in modules else node.module, node.lineno


def edges_of(trees: Mapping[str, ast.Module], modules: Mapping[str, Path]) -> dict[str, set[str]]:
    """Return what each module imports by name; the packages around those, which Python imports too, do not count."""
    return {name: {to for to, _ in imports_of(tree, modules)} - {name} for name, tree in trees.items()}


def cycles_of(edges: Mapping[str, set[str]]) -> list[list[str]]:
    """Return the groups of modules that import one another, the largest first (Tarjan, SIAM J. Comput. 1, 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in sorted(edges.get(name, ())):
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            group = stack[stack.index(name) :]
            del stack[-len(group) :]
            if len(group) > 1:
                found.append(sorted(group))

    for name in sorted(edges):
        if name not in index:
            visit(name)
    return sorted(found, key=len, reverse=True)


def public_names(tree: ast.Module) -> Iterator[str]:
    """Yield the functions, classes and constants at the top of a module that do not begin with an underscore."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.Assign):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names = [node.target.id]
        else:
            names = []
        yield from (name for name in names if not name.startswith("_"))


def id_keys(tree: ast.Module) -> int:
    """Return in how many places an `id()` is a key of a dictionary or set, or is looked up in one."""
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    calls = [node for node in ast.walk(tree) if _is_id(node)]
    return sum(_is_key(node, parents) for node in calls)


def _is_id(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "id"


def _is_key(node: ast.AST, parents: Mapping[ast.AST, ast.AST]) -> bool:
    parent = parents.get(node)
    if isinstance(parent, ast.Tuple | ast.Starred):
        # It is part of a longer key, or of a pair that a dictionary is made from.
        return True
    if isinstance(parent, ast.Subscript | ast.Dict | ast.DictComp | ast.Set | ast.SetComp):
        return True
    if isinstance(parent, ast.Compare):
        return any(isinstance(operator, ast.In | ast.NotIn) for operator in parent.ops)
    return (
        isinstance(parent, ast.Call)
        and isinstance(parent.func, ast.Attribute)
        and parent.func.attr in _LOOKS_UP
        and node in parent.args
    )


def callers_of(trees: Mapping[str, ast.Module], home: str, *functions: str) -> list[str]:
    """Return the modules that import one of `functions` from the package `home` and call it, once for each call."""
    found: dict[str, int] = defaultdict(int)
    for name, tree in trees.items():
        taken = {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(home)
            for alias in node.names
            if alias.name in functions
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in taken:
                found[name] += 1
    return [name for name, count in sorted(found.items()) for _ in range(count)]


if __name__ == "__main__":
    main()
