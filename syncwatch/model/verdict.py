"""Answers: may this run pass? The policy that is asked, and the verdict that is given."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from syncwatch.model.finding import Site


@dataclass(frozen=True, slots=True)
class Policy:
    """How much waiting is allowed."""

    max_syncs_per_step: float = 0.0
    """Implicit synchronizations a step that are allowed in every judged variant."""
    variants: tuple[str, ...] = ()
    """The variants to judge; empty for the last one, which is the candidate."""


class Outcome(str, Enum):
    """What a gate concludes."""

    CLEAN = "clean"
    OVER = "over policy"
    UNMEASURED = "could not measure"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of one run under one policy."""

    outcome: Outcome
    reasons: tuple[str, ...]
    """A sentence for each thing that was over policy or could not be measured."""
    offenders: tuple[Site, ...]
