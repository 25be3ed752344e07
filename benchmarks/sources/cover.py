"""Decides what covers a place of torch's sources: a row of the table, the dispatcher, or a reviewed reason."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec

from benchmarks.sources.cpp import Place
from benchmarks.sources.operators import Graph
from syncwatch.sense.virtual.operators.rows import FAMILIES
from syncwatch.sense.virtual.operators.table import row_of

REASONS = Path(__file__).resolve().parents[1] / "data" / "inventory_reasons.toml"


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """A place, and what covers it."""

    file: str
    line: int
    function: str
    pattern: str
    text: str
    covered: str
    """`row`, `dispatched`, `reason`, or `nothing`."""
    condition: str | None = None
    operators: tuple[str, ...] = ()
    """The operators that reach the place; at most 12 are kept."""
    rows: tuple[str, ...] = ()
    reason: str | None = None
    """The name of a reason in `benchmarks/data/inventory_reasons.toml`."""

    @property
    def key(self) -> str:
        return f"{self.file}:{self.function}:{self.pattern}"


class Reason(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why places need no row of the operators that seem to reach them."""

    name: str
    why: str
    places: tuple[str, ...]
    """Patterns `file:function:pattern` of places, in which `*` stands for anything."""
    rows: tuple[str, ...] = ()
    """Rows of other operators that cover these places."""


class _Reasons(msgspec.Struct, frozen=True):
    reason: tuple[Reason, ...]


@dataclass(slots=True)
class Reasons:
    """The reviewed reasons, and which of them named a place."""

    reasons: tuple[Reason, ...]
    used: set[str] = field(default_factory=set)

    @classmethod
    def load(cls, path: Path = REASONS) -> Reasons:
        """Read the file of reasons."""
        return cls(msgspec.toml.decode(path.read_bytes(), type=_Reasons).reason)

    def of(self, key: str) -> Reason | None:
        """Return the first reason that names a place."""
        for reason in self.reasons:
            for glob in reason.places:
                if fnmatchcase(key, glob):
                    self.used.add(glob)
                    return reason
        return None

    def unused(self) -> list[str]:
        """Return the patterns of places that no source has any more."""
        return [glob for reason in self.reasons for glob in reason.places if glob not in self.used]


_KEPT = 12
_CALLS_OPERATORS = frozenset(
    {"item", "to the host", "from the host", "truth of a tensor", "equal", "size by values", "checks info"}
)
"""Patterns that call operators, which go through the dispatcher unless a kernel calls them; others call the runtime."""


def cover(package: str, place: Place, graph: Graph, reasons: Reasons) -> Entry:
    """Say what covers a place: a reason that names it, else rows of all operators there, else the dispatcher."""
    # Importing the families has registered their rows, which `row_of` looks up.
    assert FAMILIES
    csrc = place.file.startswith("torch/csrc")
    reached = None if csrc else graph.reaching(place.function)
    kernels = reached.kernels if reached else ()
    operators = kernels or (reached.composites if reached else ())
    needed = kernels if place.pattern in _CALLS_OPERATORS else operators
    rows = tuple(name for name in needed if row_of(name))
    reason = reasons.of(place.key)
    if reason is not None:
        covered, rows = "reason", reason.rows
    elif needed and len(rows) == len(needed):
        covered = "row"
    elif not needed and operators:
        covered = "dispatched"
    else:
        covered, rows = "nothing", ()
    return Entry(
        place.file,
        place.line,
        place.function,
        place.pattern,
        place.text,
        covered,
        place.condition,
        operators[:_KEPT],
        rows[:_KEPT],
        reason.name if reason else None,
    )
