"""A line of the table, what it says is true and what is off, and the table as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from benchmarks.gain_programs.measure import Truth
from benchmarks.gain_programs.registry import Program
from syncwatch.model.report import RecordingSummary, Site

_RELATIVE, _ABSOLUTE_US, _OF_STEP = 0.10, 20.0, 0.01
_INVENTED_OF_STEP = 0.05
_WITHIN_SHARE = 0.95


class Said(msgspec.Struct, frozen=True):
    """What a report says of the waits that a flag removes, in microseconds a step; None where it says nothing."""

    gain_us: float | None
    interval_us: tuple[float, float] | None
    bubble_us: float | None
    sites: int
    recorded_us: float | None
    """The step as it was recorded."""
    replayed_us: float | None
    """The step as the replay gave it, with all waits."""
    unknown: str
    """Why no gain is said; empty where one is."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One program: what removing its waits gains, and what a recording of it says; microseconds a step."""

    name: str
    family: str
    source: str
    """Who recorded: syncwatch, torch.profiler or nsys."""
    with_us: float
    without_us: float
    true_us: float
    true_interval_us: tuple[float, float]
    said_us: float | None
    said_interval_us: tuple[float, float] | None
    bubble_us: float | None
    """Idle time of the GPU behind these waits."""
    sites: int
    """Lines of the report that were taken for those that the flag removes."""
    recorded_us: float | None
    """The step while it was recorded; beside `with_us` it tells what recording cost."""
    replayed_us: float | None
    """The same as the replay gave it, with all waits."""
    unknown: str
    """Why no gain is said; empty where one is."""
    steps: int
    what_if_us: float | None = None
    """What a replay of the host's values gained; of scenarios alone."""
    unjudged: str = ""
    """Why the line is held against nothing; empty where it is."""
    within: bool | None = None
    invented: bool | None = None

    @classmethod
    def of(
        cls,
        name: str,
        family: str,
        source: str,
        truth: Truth,
        said: Said,
        steps: int,
        *,
        what_if_us: float | None = None,
        unjudged: str = "",
    ) -> Row:
        """Return the judged row."""
        row = cls(
            name=name,
            family=family,
            source=source,
            with_us=truth.with_us,
            without_us=truth.without_us,
            true_us=truth.gain_us,
            true_interval_us=truth.interval_us,
            said_us=said.gain_us,
            said_interval_us=said.interval_us,
            bubble_us=said.bubble_us,
            sites=said.sites,
            recorded_us=said.recorded_us,
            replayed_us=said.replayed_us,
            unknown=said.unknown,
            steps=steps,
            what_if_us=what_if_us,
            unjudged=unjudged,
        )
        return row if unjudged else msgspec.structs.replace(row, within=row._is_within(), invented=row._is_invented())

    @property
    def tolerance_us(self) -> float:
        """How far what is said may be from the truth: 10 %, 20 us or 1 % of the step, whichever is most."""
        return max(_RELATIVE * abs(self.true_us), _ABSOLUTE_US, _OF_STEP * self.with_us)

    @property
    def uncertain(self) -> bool:
        """Whether the interval of the truth is wider than the tolerance on either side."""
        low, high = self.true_interval_us
        return max(high - self.true_us, self.true_us - low) > self.tolerance_us

    @property
    def off_us(self) -> float:
        """How far what is said is from the truth; 0 where nothing is said."""
        return 0.0 if self.said_us is None else self.said_us - self.true_us

    @property
    def possible(self) -> bool:
        """Whether what is said is as near to some gain that the interval of the truth holds."""
        low, high = self.true_interval_us
        return self.said_us is not None and low - self.tolerance_us <= self.said_us <= high + self.tolerance_us

    def _is_within(self) -> bool:
        return self.said_us is not None and abs(self.off_us) <= self.tolerance_us

    def _is_invented(self) -> bool:
        """Return whether a gain over 5 % of the step is said where there is none."""
        low, high = self.true_interval_us
        none = low <= 0 <= high or self.true_us < _OF_STEP * self.with_us
        return none and self.said_us is not None and self.said_us > max(high, _INVENTED_OF_STEP * self.with_us)


class Summary(msgspec.Struct, frozen=True):
    """What the table comes to."""

    judged: int
    within: int
    possible: int
    """Lines that are within the limit of some gain in the interval of the truth."""
    unsaid: int
    """Judged lines of which nothing is said; they are not within."""
    invented: list[str]
    uncertain: int
    worst: str
    worst_off_us: float

    @property
    def true(self) -> bool:
        """Return whether the table holds: 95 % of the lines within, none invented, and any line at all."""
        return self.judged > 0 and self.within >= _WITHIN_SHARE * self.judged and not self.invented

    def words(self) -> str:
        """Return one line for the reader."""
        share = f"{self.within} of {self.judged} within" if self.judged else "nothing was judged"
        worst = f"; worst {self.worst}, {self.worst_off_us:+.0f} us" if self.worst else ""
        invented = f"; a gain where there is none: {', '.join(self.invented)}" if self.invented else ""
        unsaid = f"; {self.unsaid} of which nothing is said" if self.unsaid else ""
        uncertain = (
            f"; {self.uncertain} whose truth is less certain than the limit: held against its interval, "
            f"{self.possible} are within"
            if self.uncertain
            else ""
        )
        return f"{share}{worst}{invented}{unsaid}{uncertain}"


def summary_of(rows: Iterable[Row]) -> Summary:
    """Return what `rows` come to; the worst is the one that is farthest off in tolerances."""
    judged = [row for row in rows if not row.unjudged]
    said = [row for row in judged if row.said_us is not None]
    worst = max(said, key=lambda row: abs(row.off_us) / row.tolerance_us, default=None)
    return Summary(
        judged=len(judged),
        within=sum(row.within is True for row in judged),
        possible=sum(row.possible for row in judged),
        unsaid=len(judged) - len(said),
        invented=[f"{row.name} ({row.source})" for row in judged if row.invented],
        uncertain=sum(row.uncertain for row in judged),
        worst="" if worst is None else f"{worst.name} ({worst.source})",
        worst_off_us=0.0 if worst is None else worst.off_us,
    )


def said_of(summary: RecordingSummary, program: Program) -> Said:
    """Return what a report says of the waits that the flag of `program` removes."""
    return said_at(summary, removed_sites(summary, program), together=program.together)


def said_at(summary: RecordingSummary, sites: Sequence[Site], *, together: bool) -> Said:
    """Return what a report says of some of its sites, or of all implicit waits together."""
    check = summary.replay
    if together:
        gain, interval = summary.per_step.gain_us, None if check is None else check.gain_ci_us
    else:
        gain = _sum([site.gain_us for site in sites])
        interval = sites[0].gain_ci_us if len(sites) == 1 else None
    unknown = (None if check is None else check.unknown) or ("" if sites else "No site of these waits was found.")
    return Said(
        gain_us=gain,
        interval_us=interval,
        bubble_us=_sum([site.gpu_idle_us for site in sites]),
        sites=len(sites),
        recorded_us=None if check is None else check.recorded_us,
        replayed_us=None if check is None else check.replayed_us,
        unknown=unknown,
    )


def removed_sites(summary: RecordingSummary, program: Program) -> tuple[Site, ...]:
    """Return the sites at which the waits are that the flag removes.

    A site without a line, as in a trace without stacks, is known by the range that `marked_by` gives each wait.
    """
    return tuple(
        site
        for site in summary.sites
        if site.function.rsplit(".", 1)[-1] in program.removes or site.range in program.removes
    )


def _sum(figures: Sequence[float | None]) -> float | None:
    known = [each for each in figures if each is not None]
    return sum(known) if known and len(known) == len(figures) else None


_HEADER = (
    "| family | program | recorded by | step, us | without | true gain (95 %) | said | bubble | what-if | within |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)


def markdown(rows: Sequence[Row]) -> str:
    """Return the table."""
    return "\n".join([_HEADER, *map(_line, rows)])


def _line(row: Row) -> str:
    low, high = row.true_interval_us
    verdict = "not judged" if row.unjudged else "yes" if row.within else "INVENTED" if row.invented else "NO"
    cells = (
        row.family,
        row.name,
        row.source,
        f"{row.with_us:.0f}",
        f"{row.without_us:.0f}",
        f"{row.true_us:.0f} ({low:.0f} to {high:.0f}){' ?' if row.uncertain else ''}",
        _us(row.said_us)
        + ("" if row.said_interval_us is None else " ({:.0f} to {:.0f})".format(*row.said_interval_us)),
        _us(row.bubble_us),
        _us(row.what_if_us),
        verdict,
    )
    return f"| {' | '.join(cells)} |"


def _us(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:.0f}"
