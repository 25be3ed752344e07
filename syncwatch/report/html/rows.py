"""What stands in the tables of lines and of waits: words, sort keys, and which wait is drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from syncwatch.model.analysis import AnalysedWait, Finding, StepsWithout
from syncwatch.model.report import NO_LINE, RecordingSummary, Report, Site
from syncwatch.model.session import Recording, Session
from syncwatch.report import text
from syncwatch.report.gain import StepLength, gain_cell, gain_sentence, percent, step_of
from syncwatch.report.html.packing import origin_of, printable
from syncwatch.report.html.thinning import DrawnRecording
from syncwatch.report.site import caret_span, place_of

_CELLS = 150

_Key = tuple["str | int | None", ...]
"""What a wait and its site have in common: cause, place, reason; without a line, call and range."""


@dataclass(frozen=True, slots=True)
class SiteRow:
    """One line that waits."""

    variant: str
    site: Site
    """What the columns are sorted by."""
    place: str
    before: str
    marked: str
    after: str
    gain: str
    price: str
    """What removing it gains, a sentence; empty where nothing is said of that, as outside the steps."""
    calls: str
    blocked: str
    idle: str
    hint: str | None
    """None where a row above says the same: how to get the lines of a trace."""
    settled: bool
    """Whether it was asked for or is allowed."""
    wait: str | None
    """Which drawn wait shows it, as `variant:position`; None where none is drawn."""
    without: str | None = None
    """Which drawing shows the steps without it, as `variant:position`; None where there is none."""


@dataclass(frozen=True, slots=True)
class WaitRow:
    """One drawn wait, for who cannot see the timeline."""

    wait: str
    variant: str
    step: str
    start: str
    blocked: str
    idle: str
    place: str


def site_rows(
    report: Report,
    session: Session | None,
    drawn: Sequence[DrawnRecording],
    without: Sequence[Sequence[StepsWithout]] = (),
) -> tuple[list[SiteRow], list[SiteRow]]:
    """Return the lines of the measured steps, and those that wait in warm-up alone.

    Args:
        report: with the lines.
        session: where they were recorded; None where that was not kept.
        drawn: what is drawn of each recording.
        without: of each recording, the steps that are drawn without a line.
    """
    measured: list[SiteRow] = []
    warmup: list[SiteRow] = []
    for index, variant in enumerate(report.variants):
        first, any_step = _first_waits(session, drawn, index)
        step = step_of(variant, report)
        named = {each.site: f"{index}:{at}" for at, each in enumerate(without[index] if index < len(without) else ())}
        measured += [
            replace(_site_row(variant, site, first.get(_key_of_site(site)), step), without=named.get(place))
            for place, site in enumerate(variant.sites)
        ]
        warmup += [_site_row(variant, site, any_step.get(_key_of_site(site))) for site in variant.warmup_sites]
    return _hinted_once(measured), _hinted_once(warmup)


def outside_rows(report: Report, session: Session | None, drawn: Sequence[DrawnRecording]) -> list[SiteRow]:
    """Return the lines that wait outside every step."""
    rows: list[SiteRow] = []
    for index, variant in enumerate(report.variants):
        _, any_step = _first_waits(session, drawn, index)
        rows += [_site_row(variant, site, any_step.get(_key_of_site(site))) for site in variant.outside_sites]
    return _hinted_once(rows)


def _hinted_once(rows: Sequence[SiteRow]) -> list[SiteRow]:
    """Return `rows` with what is said to all that have no line in the first of them alone."""
    said: set[str] = set()
    result = []
    for row in rows:
        lineless = row.site.file == NO_LINE
        result.append(replace(row, hint=None) if lineless and row.site.hint in said else row)
        said.add(row.site.hint)
    return result


def wait_rows(session: Session | None, drawn: Sequence[DrawnRecording]) -> Iterator[WaitRow]:
    """Yield the drawn waits of the target's own, but for the runner's pacing."""
    for index, (recording, each) in enumerate(zip(session.recordings if session else (), drawn, strict=False)):
        origin = origin_of(recording, each)
        for position, wait in enumerate(each.waits):
            if wait.finding is not None:
                yield _wait_row(f"{index}:{position}", recording, wait, wait.finding, origin)


def _wait_row(name: str, recording: Recording, wait: AnalysedWait, finding: Finding, origin: int) -> WaitRow:
    sync = wait.sync
    start, end = sync.start_ns or 0, sync.end_ns or 0
    since = (start - origin) / 1e3
    return WaitRow(
        wait=name,
        variant=printable(recording.variant),
        step="outside" if sync.step is None else f"{sync.step}{_warmup(recording, sync.step)}",
        start=text.micros(since) if since >= 0 else f"-{text.micros(-since)}",
        blocked=text.micros((end - start) / 1e3),
        idle=text.micros(None if wait.bubble is None else (wait.bubble[1] - wait.bubble[0]) / 1e3),
        place="no Python line" if finding.file == NO_LINE else f"{printable(finding.file)}:{finding.line}",
    )


def _warmup(recording: Recording, index: int) -> str:
    return ", warm-up" if any(step.warmup for step in recording.steps if step.index == index) else ""


def _first_waits(
    session: Session | None, drawn: Sequence[DrawnRecording], index: int
) -> tuple[dict[_Key, str], dict[_Key, str]]:
    """Return the first drawn wait of each finding, in the measured steps and in any."""
    first: dict[_Key, str] = {}
    any_step: dict[_Key, str] = {}
    if session is None or index >= len(drawn):
        return first, any_step
    steps = session.recordings[index].steps
    measured = {step.index for step in steps if not step.warmup}
    for position, wait in enumerate(drawn[index].waits):
        if wait.finding is None:
            continue
        key = _key(wait.finding, wait.sync.allowed, wait.sync.api or wait.sync.kind.api())
        any_step.setdefault(key, f"{index}:{position}")
        if not steps or wait.sync.step in measured:
            first.setdefault(key, f"{index}:{position}")
    return first, any_step


def _key_of_site(site: Site) -> _Key:
    return _key(site, site.allowed, site.api)


def _key(known: Site | Finding, allowed: str | None, api: str) -> _Key:
    lineless = (api, known.range) if known.file == NO_LINE else ()
    return known.code, known.file, known.line, known.function, allowed, *lineless


def short_place(site: Site) -> str:
    """Return where `site` is for a title: the file without its folders, and the line."""
    if site.file == NO_LINE:
        return printable(site.waiter)
    return f"{printable(site.file.rsplit('/', 1)[-1])}:{site.line}"


def _site_row(variant: RecordingSummary, site: Site, wait: str | None, step: StepLength | None = None) -> SiteRow:
    first, last = caret_span(site.source, site.expression)
    return SiteRow(
        variant=printable(variant.name),
        site=site,
        place=place_of(site, _CELLS),
        before=printable(site.source[:first]),
        marked=printable(site.source[first:last]),
        after=printable(site.source[last:]),
        gain="" if step is None else gain_cell(site.gain_us, step),
        price="" if step is None else gain_sentence(site, step),
        calls=text.number(site.calls_per_step) + (", in every step" if site.structural else ""),
        blocked=text.micros(site.host_blocked_us),
        idle=text.micros(site.gpu_idle_us) + (f" ({percent(site.step_share)})" if site.step_share else ""),
        hint=site.hint,
        settled=site.explicit or site.allowed is not None,
        wait=wait,
    )
