"""The policy that is asked whether a run may pass, and the verdict that is given."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import Enum

from syncwatch.model.report import Site
from syncwatch.model.session import DeviceKind

VERDICT_SCHEMA = "syncwatch.verdict/1"


class Level(str, Enum):
    """What happens to a synchronization that a rule speaks of; the words of JAX's transfer guard."""

    ALLOW = "allow"
    LOG = "log"
    DISALLOW = "disallow"


@dataclass(frozen=True, slots=True)
class Rule:
    """A level for the causes, paths or NVTX ranges that `pattern` matches."""

    pattern: str
    level: Level


@dataclass(frozen=True, slots=True)
class Statement:
    """The lines of source that an allow comment speaks of."""

    file: str
    first: int
    last: int
    texts: tuple[str, ...]
    """The lines, stripped; a site of another text is not meant, since the file has changed since the run."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """The sites that an allow entry of the policy file speaks of; None matches everything."""

    path: str | None
    function: str | None


@dataclass(frozen=True, slots=True)
class Allow:
    """A reason for which synchronizations may stay."""

    codes: tuple[str, ...]
    """Cause codes or beginnings of them, as SW3; empty for all."""
    reason: str
    until: date | None
    """The last day on which it holds; None for ever."""
    where: Statement | Pattern
    file: str
    """Where it is written."""
    line: int


@dataclass(frozen=True, slots=True)
class Budgets:
    """The most that a step of a judged variant may have; None where there is no limit."""

    syncs: float | None = None
    """Of the synchronizations at level `disallow`. Without a budget and without a baseline each of them fails."""
    d2h_copies: float | None = None
    d2h_bytes: float | None = None
    host_blocked_us: float | None = None
    """Judged on CUDA alone: the virtual device's times are modelled."""
    gpu_idle_us: float | None = None
    """Judged on CUDA alone."""
    gain_us: float | None = None
    """Of what a step would gain without its implicit waits. Judged on CUDA alone."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How much waiting is allowed, and where."""

    implicit: Level = Level.DISALLOW
    """The level of what no rule speaks of."""
    explicit: Level = Level.LOG
    """The level of waits that the user asked for, as `torch.cuda.synchronize()`."""
    causes: tuple[Rule, ...] = ()
    """By cause code or the beginning of one; the longest match wins."""
    paths: tuple[Rule, ...] = ()
    """By file, in the patterns of .gitignore; the last match wins."""
    ranges: tuple[Rule, ...] = ()
    """By name of an NVTX range, in shell patterns; the innermost range with a rule wins, then the last match."""
    budgets: Budgets = Budgets()
    allows: tuple[Allow, ...] = ()
    variants: tuple[str, ...] = ()
    """The variants to judge; empty for the last one, which is the candidate."""
    outside_steps: Level = Level.DISALLOW
    """The most that becomes of waits outside every step, in a run that marks its steps; rules may only loosen it."""
    unwatched: Level = Level.DISALLOW
    """What becomes of a run of which a part was not watched: at `disallow` it could not be measured."""
    strict: bool = False
    """Whether baseline entries that are gone, rules that match nothing and budgets not judged stop the gate too."""


@dataclass(frozen=True, slots=True)
class SiteKey:
    """What a site is known by while the code around it moves."""

    path: str
    function: str
    code: str
    """The cause code."""
    source: str
    """The code line without comments and without spaces that say nothing."""


@dataclass(frozen=True, slots=True)
class KnownSite:
    """One entry of a baseline: lines that waited when it was written."""

    target: str
    variant: str
    key: SiteKey
    sites: int
    """How many lines have this key."""
    calls_per_step: float


class Severity(str, Enum):
    """What a ruling does to the gate."""

    FAIL = "fail"
    WARN = "warn"
    NOTE = "note"


class Reason(str, Enum):
    """Why the gate speaks."""

    UNMEASURED = "not-measured"
    NOT_ALLOWED = "not-allowed"
    NEW_SITE = "new-site"
    RISEN = "risen"
    """More lines or calls than the baseline knows."""
    OVER_BUDGET = "over-budget"
    EXPIRED_ALLOW = "expired-allow"
    GONE = "gone"
    """The baseline knows more than was seen."""
    UNUSED_ALLOW = "unused-allow"
    UNMATCHED_RULE = "unmatched-rule"
    """A rule of the policy for a range or a file that the run did not have."""
    NOT_JUDGED = "not-judged"
    """A budget or a rule that this device cannot answer."""
    UNWATCHED = "unwatched"
    """A part of the run that was not watched, where the policy lets that pass."""
    REMARK = "remark"
    """What a reader should know of the whole run."""
    LOGGED = "logged"
    KNOWN = "known"
    """In the baseline."""
    WITHIN_BUDGET = "within-budget"
    ALLOWED = "allowed"


@dataclass(frozen=True, slots=True)
class Ruling:
    """One thing that the gate says."""

    severity: Severity
    reason: Reason
    message: str
    """A sentence that stands alone."""
    why: str
    """The same without its place, for where that is shown beside it."""
    variant: str | None = None
    site: Site | None = None
    key: SiteKey | None = None
    file: str | None = None
    """Where the line, the allow or the baseline entry is; None where the ruling has no place."""
    line: int | None = None
    measured: float | None = None
    """A step, in the unit of the budget; None where nothing was counted."""
    limit: float | None = None
    outside: bool = False
    """Whether `site` waits outside every step, so that its figures are those of the whole run."""


class Outcome(str, Enum):
    """What a gate concludes."""

    CLEAN = "clean"
    OVER = "over policy"
    UNMEASURED = "could not measure"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of one run under one policy."""

    outcome: Outcome
    device: DeviceKind
    variants: tuple[str, ...]
    """Which were judged."""
    rulings: tuple[Ruling, ...]
    """The worst first."""
    schema: str = VERDICT_SCHEMA

    def of(self, severity: Severity) -> tuple[Ruling, ...]:
        """Return the rulings of `severity`."""
        return tuple(ruling for ruling in self.rulings if ruling.severity is severity)

    @property
    def reasons(self) -> tuple[str, ...]:
        """A sentence for each thing that was over policy or could not be measured."""
        return tuple(ruling.message for ruling in self.of(Severity.FAIL))

    @property
    def offenders(self) -> tuple[Site, ...]:
        """The lines that fail the gate, the worst first."""
        return tuple(ruling.site for ruling in self.of(Severity.FAIL) if ruling.site is not None)
