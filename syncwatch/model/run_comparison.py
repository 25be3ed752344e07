"""What a comparison of two runs says. These records are the JSON of `syncwatch compare`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from syncwatch.model.report import PerStep, ReplayCheck, StepTime, StepTimeComparison
from syncwatch.model.session import DeviceKind, Environment

RUN_COMPARISON_SCHEMA = "syncwatch.difference/1"


class Change(str, Enum):
    """What became of a line that waits."""

    GONE = "gone"
    NEW = "new"
    CHANGED = "changed"
    """It waits more or less often, or longer or shorter, than two measurements of one thing may differ."""
    SAME = "as before"


@dataclass(frozen=True, slots=True)
class LineFigures:
    """What lines of one cause, function and wording cost in one run; figures a step, None where not measured."""

    lines: tuple[int, ...]
    """Their line numbers."""
    calls_per_step: float
    host_blocked_us: float | None
    gpu_idle_us: float | None
    gain_us: float | None = None
    """What removing each of them alone gains, added up."""


@dataclass(frozen=True, slots=True)
class LineComparison:
    """Lines of one cause, function and wording in both runs; they may have moved within their file."""

    change: Change
    code: str
    title: str
    file: str
    function: str
    source: str
    before: LineFigures | None
    """None for a new line."""
    after: LineFigures | None
    """None for a line that is gone."""
    waiter: str
    """As `Site.waiter`: what it is known by where it has no line."""
    exact_line: bool
    """As `Site.exact_line`."""


@dataclass(frozen=True, slots=True)
class StepFigures:
    """A step of one variant in one run."""

    variant: str
    steps: int
    per_step: PerStep
    step_ms: StepTime | None
    replay: ReplayCheck | None = None
    """What the gains rest on, or why none is known."""


@dataclass(frozen=True, slots=True)
class VariantComparison:
    """One variant of the earlier run against one of the later."""

    before: StepFigures
    after: StepFigures
    comparison: StepTimeComparison
    """What the step gained."""
    lines: tuple[LineComparison, ...]
    """Gone, new, changed, as before; the dearest first within each."""


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What a run file says of its run."""

    file: str
    """As the user named it."""
    target: str
    device: DeviceKind
    environment: Environment
    parameters: dict[str, str] | None
    complete: bool


@dataclass(frozen=True, slots=True)
class RunComparison:
    """Two runs, the earlier and the later."""

    before: RunFacts
    after: RunFacts
    variants: tuple[VariantComparison, ...]
    notes: tuple[str, ...]
    """What else differs, and how far the figures carry, a sentence each."""
    schema: str = RUN_COMPARISON_SCHEMA

    @property
    def same_clock(self) -> bool:
        """Return whether both runs were measured, or both modelled: else no time is held against the other."""
        return self.before.device is self.after.device
