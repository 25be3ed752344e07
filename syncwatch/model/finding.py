"""Answers: what does a report say? These records are the JSON contract, field by field."""

from __future__ import annotations

from dataclasses import dataclass

from syncwatch.model.events import SyncEvent
from syncwatch.model.session import Coverage, DeviceKind, Environment

REPORT_SCHEMA = "syncwatch.report/1"

NO_LINE = "<no Python line>"
"""Stands for the file of a synchronization that no line outside torch was found for."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of user code and why it waits: what `Site` says, before it is counted and priced."""

    code: str
    title: str
    hint: str
    explicit: bool
    file: str
    """`NO_LINE` where there is none."""
    line: int
    function: str
    source: str
    expression: str | None


@dataclass(frozen=True, slots=True)
class Attributed:
    """A synchronization with the line and the cause it belongs to."""

    sync: SyncEvent
    finding: Finding


@dataclass(frozen=True, slots=True)
class Site:
    """One line of user code with one cause; per-variant figures after warm-up."""

    code: str
    """Stable cause code, as SW101."""
    title: str
    file: str
    line: int
    function: str
    source: str
    """The source line, stripped."""
    expression: str | None
    """The part of the line that waited, where the interpreter records columns."""
    op: str | None
    api: str
    explicit: bool
    calls: int
    calls_per_step: float
    host_blocked_us: float | None
    """Microseconds a step that the host stood still here."""
    gpu_idle_us: float | None
    """Microseconds a step that the GPU then had nothing to do (the bubble)."""
    bytes: int | None
    """Bytes a step that the copies of this site moved."""
    hint: str


@dataclass(frozen=True, slots=True)
class PerStep:
    """Figures a step, after warm-up; None where it was not measured."""

    syncs: float
    explicit_syncs: float
    """How many of `syncs` the user asked for."""
    d2h_copies: float | None
    d2h_bytes: float | None
    h2d_copies: float | None
    h2d_bytes: float | None
    host_blocked_us: float | None
    gpu_idle_us: float | None


@dataclass(frozen=True, slots=True)
class StepTime:
    """The time of one step in milliseconds."""

    median: float
    ci95: tuple[float, float] | None
    """Bootstrap 95 % interval of the median; None for a single step and on the virtual clock."""
    modelled: bool


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to run the target."""

    name: str
    steps: int
    """Measured steps, without warm-up."""
    per_step: PerStep
    step_ms: StepTime | None
    sites: tuple[Site, ...]
    """Worst first."""
    warmup_syncs: int
    """Synchronizations before the first measured step."""
    pacing_waits: int
    """Waits of the runner itself, to keep its run-ahead; not counted above."""
    coverage: Coverage
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The candidate variant against the baseline."""

    baseline: str
    candidate: str
    step_time_ratio: float | None
    """Baseline step time over candidate step time: above 1 the candidate is faster."""
    ci95: tuple[float, float] | None
    modelled: bool
    verdict: str
    """One phrase: how far the figures carry, as `no difference shown`."""
    outputs_equal: bool | None


@dataclass(frozen=True, slots=True)
class Report:
    """What syncwatch found; encodes to the public JSON contract."""

    target: str
    device: DeviceKind
    environment: Environment
    parameters: dict[str, str] | None
    variants: tuple[Variant, ...]
    comparison: Comparison | None
    coverage: Coverage
    complete: bool
    missing: tuple[str, ...]
    schema: str = REPORT_SCHEMA

    @property
    def sites(self) -> tuple[Site, ...]:
        """Every site of every variant, the first variant's first, worst first within each."""
        return tuple(site for variant in self.variants for site in variant.sites)
