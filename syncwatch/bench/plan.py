"""How often everything of a scenario runs, and how that is told to whoever waits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from syncwatch.model.session import Line, Recording


@dataclass(frozen=True, slots=True)
class Plan:
    """How often everything runs."""

    variants: tuple[str, ...]
    steps: int
    warmup: int
    rounds: int | None = None
    """Interleaved rounds of the time pass; None for `ROUNDS`."""
    prices: bool = True
    """Whether the price pass is run."""
    lines_of: Callable[[Recording], Sequence[Line]] | None = None
    """Finds the lines to ask "what if it did not wait?" of, the worst first; None where that was not asked."""


Progress = Callable[[str, int, int], None]
"""Called with the phase, the steps done and the steps to do."""
