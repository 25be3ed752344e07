"""Finds which operators reach a function of torch's C++, through the dispatch table, stubs and names.

Functions are known by their bare names, so two functions of one name count as one. So an operator may be named that
does not reach the function; one that does is not left out, unless it is called through a name that a macro builds.
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.sources.cpp import Source

CUDA_KEYS = frozenset(
    {
        "CUDA",
        "SparseCUDA",
        "SparseCsrCUDA",
        "NestedTensorCUDA",
        "QuantizedCUDA",
        "CompositeExplicitAutogradNonFunctional",
    }
)
_TOO_COMMON = 8
"""Names that are defined in more files than this (`apply`, `run`) are not followed: a call could mean any of them."""


@dataclass(frozen=True, slots=True)
class Reached:
    """The operators that reach a function."""

    kernels: tuple[str, ...]
    """Operators whose CUDA kernel contains or calls it; the table of blocking operators needs a row for each."""
    composites: tuple[str, ...]
    """Operators that torch composes of others on every device."""


class Operators:
    """Operators by the name of the function that is their kernel."""

    def __init__(self, native_functions: Path) -> None:
        self.kernels: dict[str, set[str]] = defaultdict(set)
        self.composites: dict[str, set[str]] = defaultdict(set)
        entries: list[dict[str, Any]] = yaml.safe_load(native_functions.read_text())
        by_name = {entry["func"].split("(")[0]: entry for entry in entries}
        for name, entry in by_name.items():
            dispatch = entry.get("dispatch") or {}
            if not dispatch and "structured_delegate" in entry:
                dispatch = by_name[entry["structured_delegate"]].get("dispatch") or {}
            self._enter(name, dispatch)

    def _enter(self, name: str, dispatch: Mapping[str, str]) -> None:
        operator = f"aten.{name.split('.')[0]}"
        if not dispatch:
            self.composites[re.sub(r"\W.*", "", name)].add(operator)
        for keys, kernel in dispatch.items():
            bare = kernel.rpartition("::")[2]
            for key in (each.strip() for each in keys.split(",")):
                if key in CUDA_KEYS:
                    self.kernels[bare].add(operator)
                elif key.startswith("Composite"):
                    self.composites[bare].add(operator)

    def register(self, name: str, function: str, *, cuda: bool) -> None:
        """Add an operator that is registered by `m.impl`."""
        operator = name.split(".")[0].replace("::", ".")
        (self.kernels if cuda else self.composites)[function].add(operator)


class Graph:
    """Which function calls which, by bare names."""

    def __init__(self, sources: Iterable[Source], operators: Operators) -> None:
        self._operators = operators
        self._callers: dict[str, set[str]] = defaultdict(set)
        defined: dict[str, set[str]] = defaultdict(set)
        for source in sources:
            for function, names in source.calls.items():
                defined[function].add(source.file)
                for name in names:
                    self._callers[name].add(function)
            for stub, kernel in source.stubs:
                self._callers[kernel].add(stub)
        self._common = {name for name, files in defined.items() if len(files) > _TOO_COMMON} | {"operator"}

    def reaching(self, function: str) -> Reached:
        """Return the operators that reach `function`."""
        kernels: set[str] = set()
        composites: set[str] = set()
        seen, queue = {function}, deque([function])
        while queue:
            name = queue.popleft()
            kernels |= self._operators.kernels.get(name, set())
            own = self._operators.composites.get(name, set())
            composites |= own
            if (name in self._operators.kernels or own) and name != function:
                continue
            if name in self._operators.kernels or own or name in self._common:
                # Callers of an operator go through the dispatcher, where the operator's own row applies.
                continue
            for caller in self._callers.get(name, ()):
                if caller not in seen:
                    seen.add(caller)
                    queue.append(caller)
        return Reached(tuple(sorted(kernels)), tuple(sorted(composites)))
