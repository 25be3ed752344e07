"""Which operators run the same C++ on CUDA as on the CPU: torch's list of kernels says so itself.

Such a function is composed of other operators, most of them on sparse or nested tensors. It is called with the
device's own tensors then, and what it calls is seen one by one, as on a GPU.
"""

from __future__ import annotations

import importlib.util
import re
from functools import cache
from pathlib import Path

_KEYS = {"Sparse": 512, "SparseCsr": 1024, "NestedTensor": 2048}
"""Kinds of dispatch keys, and the traits that say so; see `traits.Trait`."""
_HOST_ONLY = {"": 1 << 19, "SparseCsr": 1 << 20, "NestedTensor": 1 << 21, "Quantized": 1 << 22}
"""The same for operators that have a kernel for the CPU and none for CUDA."""


def of(full: str) -> int:
    """Return the traits of the overload `full`, as `aten::add.Tensor`."""
    return _table().get(full, 0)


@cache
def _table() -> dict[str, int]:
    found_at = importlib.util.find_spec("torchgen")
    if found_at is None or found_at.origin is None:
        return {}
    path = Path(found_at.origin).parent / "packaged" / "ATen" / "native" / "native_functions.yaml"
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        return {}
    kernels: dict[str, list[tuple[set[str], str]]] = {}
    for line in text.splitlines():
        if line.startswith("- func: "):
            rows = kernels["aten::" + line[len("- func: ") : line.index("(")].strip()] = []
            continue
        match = _LINE.match(line)
        if match is not None:
            rows.append(({key.strip() for key in match["keys"].split(",")}, match["function"]))
    return {name: _traits(rows) for name, rows in kernels.items() if rows}


def _traits(rows: list[tuple[set[str], str]]) -> int:
    traits = 0
    for kind, trait in _KEYS.items():
        if any({f"{kind}CPU", f"{kind}CUDA"} <= keys for keys, _ in rows):
            traits |= trait
    every = {key for keys, _ in rows for key in keys}
    if not any(key.startswith("Composite") for key in every):
        for kind, trait in _HOST_ONLY.items():
            if f"{kind}CPU" in every and f"{kind}CUDA" not in every:
                traits |= trait
    return traits


_LINE = re.compile(r"^    (?P<keys>[A-Za-z, ]+): *(?P<function>\w+)")
