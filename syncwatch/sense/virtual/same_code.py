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


def of(full: str) -> int:
    """Return the traits of the overload `full`, as `aten::add.Tensor`."""
    return _table().get(full.rstrip("."), 0)


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
    found: dict[str, int] = {}
    name = ""
    for line in text.splitlines():
        if line.startswith("- func: "):
            name = "aten::" + line[len("- func: ") : line.index("(")].strip()
            continue
        match = _LINE.match(line)
        if match is None:
            continue
        keys = {key.strip() for key in match["keys"].split(",")}
        for kind, trait in _KEYS.items():
            if f"{kind}CPU" in keys and f"{kind}CUDA" in keys:
                found[name] = found.get(name, 0) | trait
    return found


_LINE = re.compile(r"^    (?P<keys>[A-Za-z, ]+): *(?P<function>\w+)")
