"""What CUDA does in other versions of torch that it did not do in the one that was measured, by torch's sources.

The measurements are of torch 2.11. A row here says what a later or earlier torch does instead. It is read from the
sources or the pull request that is named, and checked by the operators that torch runs on its own fake CUDA tensors
(`tests/unit/virtual/test_setitem.py`); it is not measured on a GPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from syncwatch.compat.tried import numbers

Counts = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Change:
    """How often a call waits and copies from one version of torch on, where that has changed."""

    since: tuple[int, int]
    """The first version of torch with the change."""
    source: str
    """The pull request of pytorch, and what it changed."""
    syncs: Counts = field(default_factory=dict)
    """How often each kind of wait happens with the change."""
    copies: Counts = field(default_factory=dict)
    until: tuple[int, int] | None = None
    """The first version of torch without the change; None where there is none yet."""


_COMBINATIONS = Change((2, 14), "#186595: the number of combinations is computed, not counted")
_NUMBER = "#188267, #188330: a number is written without a tensor on the host"

IDIOMS = {
    "combinations": _COMBINATIONS,
    "ctc_loss": Change(
        (0, 0),
        "LossCTC.cpp: MIOpen is not asked yet, for which the targets are copied to the host twice",
        {"stream": 4},
        {"h2d pageable": 4},
        until=(2, 11),
    ),
    "x[0] = 1": Change((2, 15), _NUMBER),
    "x[gpu ints] = 1": Change((2, 15), _NUMBER),
    "x[gpu scalar] = 1": Change((2, 15), _NUMBER),
    "x[host mask] = 1": Change((2, 15), _NUMBER, {}, {"h2d pinned": 1}),
    "x[list] = 1": Change((2, 15), _NUMBER, {"stream": 1}, {"h2d pageable": 1}),
}
"""Changes of idioms in `tests/helpers/sync_ops.py`, by name."""
OPERATORS = {"combinations": _COMBINATIONS}
"""Changes of operators in torch's own samples, by name."""
SITES = {"transformers/generation/logits_process.py:1653": Change((2, 15), _NUMBER)}
"""Changes of lines of transformers 5.17.0 that write a number into one element."""


PROGRAMS = {("deterministic_and_debug_modes", "benchmarks/program_set/runtime.py"): Change((2, 15), _NUMBER)}
"""Changes of lines in the programs of `program_set`, by program and file."""


def reason_for(program: str, file: str, torch: str) -> str:
    """Return what torch changed so that a line in `file` of `program` waits differently; empty if nothing is known."""
    here = numbers(torch) or (0, 0)
    change = PROGRAMS.get((program, file))
    return change.source if change is not None and change.since <= here else ""


def in_force(changes: Mapping[str, Change], torch: str) -> dict[str, Change]:
    """Return the changes that the version `torch` has."""
    here = numbers(torch) or (0, 0)
    return {
        name: change
        for name, change in changes.items()
        if change.since <= here and (change.until is None or here < change.until)
    }
