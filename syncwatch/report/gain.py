"""Puts into words what removing a wait gains: the price of a line, which every format says first."""

from __future__ import annotations

from dataclasses import dataclass

from syncwatch.model.report import NO_LINE, RecordingSummary, ReplayCheck, Report, Site
from syncwatch.model.session import DeviceKind, Line
from syncwatch.report import text

NOTHING_PART, NOTHING_US = 0.005, 5.0
"""A gain below both, 0.5 % of the step and 5 microseconds, is nothing: a launch takes as long."""
NOT_KNOWN = "gain not known"
_LEAST = 0.0005
"""Below this part a percentage with one digit would read 0.0."""
_MAX_PLACE = 120


@dataclass(frozen=True, slots=True)
class StepLength:
    """The step that the gains of one recording are held against."""

    us: float | None = None
    """None where none was replayed: gains then have no share."""
    modelled: bool = False
    """Whether it comes from the virtual clock, and so do the gains."""
    stated: bool = True
    """Whether gains are spoken of at all: a report of version 1 does not."""

    @property
    def mark(self) -> str:
        """Return what stands behind a time that is modelled."""
        return " (modelled)" if self.modelled else ""

    def is_nothing(self, us: float) -> bool:
        """Return whether a step that is `us` shorter is as long as before, for all that can be told."""
        return abs(us) < NOTHING_US and (self.us is None or abs(us) < NOTHING_PART * self.us)

    def share(self, us: float) -> str:
        """Return `us` as a part of the step, in brackets behind a blank; nothing where its length is not known."""
        return "" if not self.us else f" ({percent(us / self.us)})"


def step_of(variant: RecordingSummary, report: Report) -> StepLength:
    """Return what the gains of `variant` are held against."""
    return step_length(variant.replay, modelled=report.device is DeviceKind.VIRTUAL)


def step_length(check: ReplayCheck | None, *, modelled: bool) -> StepLength:
    """Return the step that was replayed."""
    return StepLength(None if check is None else check.recorded_us, modelled, stated=check is not None)


def step_named(name: str | None, report: Report) -> StepLength:
    """Return what the gains of the variant `name` are held against; without one they have no share."""
    for variant in report.variants:
        if variant.name == name:
            return step_of(variant, report)
    return StepLength(modelled=report.device is DeviceKind.VIRTUAL)


def percent(part: float) -> str:
    """Return a part from 0 to 1 as a percentage with one digit; one too small to show is no 0."""
    return "under 0.1 %" if 0 < part < _LEAST else f"{100 * part:.1f} %"


def gain_parts(site: Site, step: StepLength) -> list[str]:
    """Return what removing the waits of `site` gains, a phrase each: how much, how sure, with what, and what then.

    Empty where the report does not speak of gains.
    """
    if not step.stated:
        return []
    if site.gain_us is None:
        return [NOT_KNOWN]
    parts = [_alone(site, site.gain_us, step)]
    if site.gain_ci_us is not None and not step.is_nothing(site.gain_us):
        parts.append(f"95 % interval {text.span(*site.gain_ci_us)}")
    shared = site.gain_shared
    if shared is not None:
        others = f"the {text.number(shared.others)} others" if shared.others > 1 else "the other line"
        parts.append(
            f"with {others} of which this is said: {text.micros(shared.gain_us)} a step{step.share(shared.gain_us)}"
        )
    if site.moves_to is not None and site.moves_us is not None:
        parts.append(f"then {_waiting(site.moves_to, site)} {text.micros(site.moves_us)} longer")
    return parts


def gain_sentence(site: Site, step: StepLength) -> str:
    """Return the same in one line, without a full stop; modelled times have their mark."""
    return "; ".join(gain_parts(site, step)) + ("" if site.gain_us is None else step.mark)


def gain_cell(us: float | None, step: StepLength) -> str:
    """Return a gain for a cell of a table, whose heading says what it is."""
    if us is None:
        return "not known"
    return "nothing" if step.is_nothing(us) else text.micros(us) + step.share(us)


def remarks_of(variant: RecordingSummary) -> tuple[str, ...]:
    """Return what a reader should know beside the figures of `variant`: its notes, and why its gains are not known."""
    check = variant.replay
    if check is None or check.unknown is None or not variant.sites:
        return variant.notes
    return (*variant.notes, check.unknown)


def _alone(site: Site, us: float, step: StepLength) -> str:
    alone = " alone" if site.gain_shared is not None else ""
    if step.is_nothing(us):
        return f"removing it gains nothing{alone}{_why_nothing(site, step)}"
    if us < 0:
        return f"removing it makes a step {text.micros(-us)} longer{step.share(-us)}"
    if site.gain_ci_us is not None and site.gain_ci_us[0] <= 0:
        return f"removing it shows no gain{alone}"
    return f"removing it gains {text.micros(us)} a step{step.share(us)}{alone}"


def _why_nothing(site: Site, step: StepLength) -> str:
    """Return why, where no other phrase says it: after a wait the GPU idles, or it has enough to do."""
    if site.gain_shared is not None or site.moves_to is not None or site.gpu_idle_us is None:
        return ""
    if step.is_nothing(site.gpu_idle_us):
        return ": the GPU works on meanwhile"
    return ": the host's own work hides it"


def _waiting(line: Line, site: Site) -> str:
    """Return which wait takes over from `site`, with its verb."""
    if line.file == NO_LINE:
        return "a wait without a Python line takes"
    place = f"{text.crop_left(text.shown(line.file), _MAX_PLACE)}:{line.line}"
    if (line.file, line.line) == (site.file, site.line):
        return f"another wait at {place} takes"
    # Where this one is known by its function alone, so is the other.
    return f"{place} waits" if site.exact_line else f"a wait in the function at {place} takes"
