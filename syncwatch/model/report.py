"""What a report says. These records are the JSON contract, field by field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from syncwatch.model.events import SyncKind
from syncwatch.model.process_name import without_number
from syncwatch.model.session import Coverage, DeviceKind, Environment, Line, RecordedBy
from syncwatch.model.window import RunWindow

REPORT_SCHEMA = "syncwatch.report/2"

NO_LINE = "<no Python line>"
"""Stands for the file of a synchronization that no line outside torch was found for."""

UNKNOWN = "unknown"
"""Stands in an environment for what a trace does not tell."""


def recorder_of(coverage: Coverage) -> RecordedBy:
    """Return which program recorded: another one is the only sensor of its trace, under its own name."""
    known = {recorder.value for recorder in RecordedBy}.intersection(coverage.sensors)
    return RecordedBy(known.pop()) if len(known) == 1 else RecordedBy.SYNCWATCH


@dataclass(frozen=True, slots=True)
class RuleHelp:
    """What a reader of a report can look up of one cause."""

    title: str
    summary: str
    markdown: str
    uri: str | None


@dataclass(frozen=True, slots=True)
class SharedGain:
    """What a step would gain without some lines that gain more together than each for itself."""

    others: int
    """How many lines beside this one."""
    gain_us: float
    """Microseconds a step without all of them."""


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
    kind: SyncKind
    api: str
    explicit: bool
    calls: int
    calls_per_step: float
    structural: bool
    """Whether it waited in every measured step."""
    host_blocked_us: float | None
    """Microseconds a step that the host stood still here: `drain_wait_us` + `call_overhead_us`."""
    drain_wait_us: float | None
    """The part of `host_blocked_us` in which the GPU still worked: it moves elsewhere if the sync is removed."""
    call_overhead_us: float | None
    """The rest: the call itself, and the time until the host woke up."""
    gpu_idle_us: float | None
    """Microseconds a step that the GPU then had nothing to do (the bubble)."""
    stream_idle_us: float | None
    """Microseconds a step that the drained stream then had nothing to do; above `gpu_idle_us` where others worked."""
    step_share: float | None
    """`gpu_idle_us` as a part of the step's GPU time span, summed over the GPUs, from 0 to 1."""
    bytes: int | None
    """Bytes a step that the copies of this site moved."""
    ranges: tuple[str, ...]
    """Names of the NVTX ranges that its calls ran in, outermost first."""
    allowed: str | None
    """The reason of the `syncwatch.allow` around it."""
    hint: str
    range: str | None = None
    """Of a site without a line, the innermost NVTX range that is not torch's own, each number in it as `#`."""
    exact_line: bool = True
    """Whether `line` waits; else the trace tells no more than the line on which the function is defined."""
    nests: tuple[tuple[str, ...], ...] = ()
    """Each nest of ranges that its calls ran in, one of them empty where a call ran in none; empty where all ran in the
    one nest that `ranges` is."""
    calls_by_step: tuple[tuple[int, int], ...] = ()
    """The calls of the measured steps in order, steps in a row that have as many as one entry: calls in each, steps."""
    gain_us: float | None = None
    """Microseconds by which a step would be shorter without the waits of this line: its price. None where it is not
    known; `RecordingSummary.replay` says why."""
    gain_ci_us: tuple[float, float] | None = None
    """Bootstrap 95 % interval of `gain_us` over the steps; None for a single step and on the virtual clock."""
    gain_shared: SharedGain | None = None
    """Where it gains more with others than each of them alone; else None."""
    moves_to: Line | None = None
    """The line whose waits would then hold the host longer; None where there is none."""
    moves_us: float | None = None
    """By how many microseconds a step; None where `moves_to` is."""

    @property
    def waiter(self) -> str:
        """Return what a site without a line is known by: the runtime call, and the range that it ran in."""
        return self.api if self.range is None else f'{self.api} in range "{self.range}"'


@dataclass(frozen=True, slots=True)
class PerStep:
    """Figures a step, after warm-up, summed over the GPUs; None where it was not measured."""

    syncs: float | None
    """None where another program's trace has no calls, so that none could be counted."""
    explicit_syncs: float | None
    """How many of `syncs` the user asked for."""
    allowed_syncs: float | None
    """How many of `syncs` a `syncwatch.allow` covers."""
    allocator_calls: float | None
    """Calls in which the allocator asked the driver for memory or gave some back; None where nothing saw them."""
    d2h_copies: float | None
    d2h_bytes: float | None
    h2d_copies: float | None
    h2d_bytes: float | None
    host_blocked_us: float | None
    drain_wait_us: float | None
    call_overhead_us: float | None
    gpu_span_us: float | None
    """From the first to the last work on the GPU: `gpu_busy_us` + `gpu_idle_us` + `launch_gap_us`."""
    gpu_busy_us: float | None
    """While at least one kernel or copy ran."""
    gpu_idle_us: float | None
    """After a sync, until the host had launched again: the bubbles."""
    launch_gap_us: float | None
    """Idle time that no sync caused: the host was too slow to launch."""
    kernel_us: float | None
    """Kernel time summed over all streams; removing a sync must not change it."""
    host_build_us: float | None
    """Host time in the ranges named `build metadata`, in the pass without CUPTI; None where there are none."""
    gain_us: float | None = None
    """Microseconds by which a step would be shorter without any implicit wait or call of the allocator; None where
    it is not known."""


@dataclass(frozen=True, slots=True)
class WorstStep:
    """The most that any one measured step had, each figure for itself; None where it was not measured."""

    syncs: int | None
    d2h_copies: int | None
    d2h_bytes: int | None
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
class WhatIf:
    """The step with host values replayed instead of read: what removing these lines can gain at best."""

    lines: tuple[Line, ...]
    step_ms: StepTime | None
    """None where the replay was not possible."""
    step_time_ratio: float | None
    """Step time as it is over step time replayed: above 1 is the gain."""
    ci95: tuple[float, float] | None
    refused: str | None
    """Why the replay was not possible, a sentence."""


@dataclass(frozen=True, slots=True)
class ReplayCheck:
    """Whether a replay of the recording gives its own step, so that one without waits can be believed."""

    steps: int
    """How many measured steps were replayed."""
    recorded_us: float | None
    """The step as it was recorded; None where nothing was replayed."""
    replayed_us: float | None
    """The step as the replay gave it, with all waits."""
    unknown: str | None
    """Why no gain is stated, a sentence; None where gains are."""
    gain_ci_us: tuple[float, float] | None = None
    """Bootstrap 95 % interval of `PerStep.gain_us`; None for a single step and on the virtual clock."""


@dataclass(frozen=True, slots=True)
class RecordingSummary:
    """What a report says of one recording: the fields that a variant and a process have alike.

    Version 1 of the report's schema lists both under `variants`.
    """

    marks_steps: ClassVar[bool]
    """Whether its steps were marked for us, so that a wait outside all of them is one that nobody thought of."""

    name: str
    steps: int
    """Measured steps, without warm-up."""
    per_step: PerStep
    step_ms: StepTime | None
    sites: tuple[Site, ...]
    """Worst first."""
    warmup_syncs: int
    """Synchronizations before the first measured step; of those outside every step, `outside_sites` has the lines."""
    warmup_sites: tuple[Site, ...]
    """Lines that waited in warm-up alone: lazy initialisation, autotuning, module loading; a warm-up step each."""
    price_overhead: float | None
    """Step time of the pass that CUPTI watched over the honest step time; None where either was not taken."""
    figures: dict[str, float | None]
    """Figures of the scenario's own by name, the median of the rounds; None where no round could give it."""
    what_if: tuple[WhatIf, ...]
    """The ceiling of what removing each line can gain; empty where it was not asked."""
    pacing_waits: int
    """Waits of the runner itself, to keep its run-ahead; not counted above."""
    coverage: Coverage
    notes: tuple[str, ...]
    used_gpu: bool | None = None
    """Whether it gave the device anything to do; None where that is not known."""
    outside_sites: tuple[Site, ...] = ()
    """Lines that wait outside every step, before the first too; figures of the whole run. Empty without steps."""
    worst_step: WorstStep | None = None
    """What budgets are held against; None where no step was measured."""
    ranges: tuple[str, ...] = ()
    """The name of every range that was entered, each once; of our own steps one stands for all."""
    replay: ReplayCheck | None = None
    """What `gain_us` rests on; None in a report of version 1."""

    @property
    def scope(self) -> str:
        """Return what a baseline knows it by."""
        return self.name


@dataclass(frozen=True, slots=True)
class Variant(RecordingSummary):
    """One way to run the target: the last of a run is the candidate, held against the first."""

    marks_steps: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class Process(RecordingSummary):
    """One process of another program's trace: it is judged for itself, and held against no other of its trace."""

    marks_steps: ClassVar[bool] = False

    @property
    def scope(self) -> str:
        """Return what a baseline knows it by: not by its number, which is another one in the next trace."""
        return without_number(self.name)


@dataclass(frozen=True, slots=True)
class StepTimeComparison:
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
    variants: tuple[RecordingSummary, ...]
    """The variants of a run, or the processes of a trace."""
    comparison: StepTimeComparison | None
    coverage: Coverage
    complete: bool
    missing: tuple[str, ...]
    recorder: RecordedBy = RecordedBy.SYNCWATCH
    """Which program recorded; step times of another one were taken while it did."""
    unwatched: tuple[str, ...] = ()
    """What ran as part of the target and was not watched, a sentence each."""
    notes: tuple[str, ...] = ()
    """What a reader should know of the whole run, a sentence each."""
    window: RunWindow | None = None
    """The part of the program that was recorded; None where it was the whole of it, or no window began."""
    schema: str = REPORT_SCHEMA

    @property
    def processes(self) -> tuple[Process, ...]:
        """The processes of a trace, in order; empty where the run has variants."""
        return tuple(each for each in self.variants if isinstance(each, Process))

    @property
    def candidates(self) -> tuple[RecordingSummary, ...]:
        """Those that are judged where none is named: the last variant, or each process."""
        return self.processes or self.variants[-1:]

    @property
    def sites(self) -> tuple[Site, ...]:
        """Every site of every variant, the first variant's first, worst first within each."""
        return tuple(site for variant in self.variants for site in variant.sites)

    @property
    def places(self) -> tuple[Site, ...]:
        """Every site that is judged: `sites`, and those outside every step."""
        return tuple(site for variant in self.variants for site in (*variant.sites, *variant.outside_sites))
