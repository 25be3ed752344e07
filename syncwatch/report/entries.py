"""What the formats for machines say, one entry a thing: a ruling, or a line that nobody judged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from syncwatch.model.report import NO_LINE, RecordingSummary, Report, Site
from syncwatch.model.verdict import Reason, Severity, Verdict
from syncwatch.report.gain import remarks_of, step_named
from syncwatch.report.site import block
from syncwatch.report.text import Page

_COLUMNS = 100


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that a machine is told."""

    severity: Severity
    reason: Reason | None
    """None where nobody judged."""
    message: str
    """A sentence that stands alone; may hold foreign names as they are."""
    variant: str | None
    site: Site | None
    file: str | None
    line: int | None
    outside: bool = False
    """Whether `site` waits outside every step, so that its figures are those of the whole run."""

    @property
    def rule(self) -> str:
        """Return the cause code, or what the gate calls its reason."""
        if self.site is not None:
            return self.site.code
        return self.reason.value if self.reason is not None else Reason.UNMEASURED.value


def entries_of(report: Report, verdict: Verdict | None) -> tuple[Entry, ...]:
    """Return what `verdict` says of `report`, the worst first; without a verdict the lines, and what is missing."""
    return tuple(_judged(report, verdict) if verdict is not None else _unjudged(report))


def block_of(entry: Entry, report: Report) -> str | None:
    """Return the site of `entry` as the terminal shows it, in plain text; None where it has none."""
    site = entry.site
    if site is None:
        return None
    step = step_named(entry.variant, report)
    page = Page(_COLUMNS, color=False, unicode=True)
    return page.render(lambda console: block(site, console, step, outside=entry.outside))


def _judged(report: Report, verdict: Verdict) -> Iterator[Entry]:
    for ruling in verdict.rulings:
        yield Entry(
            ruling.severity,
            ruling.reason,
            ruling.message,
            ruling.variant,
            ruling.site,
            ruling.file,
            ruling.line,
            ruling.outside,
        )
    for variant in report.variants:
        if variant.name in verdict.variants:
            yield from _remarks(variant)


def _remarks(variant: RecordingSummary) -> Iterator[Entry]:
    """Yield what a reader should know beside the figures of `variant`."""
    for sentence in remarks_of(variant):
        yield Entry(Severity.NOTE, Reason.REMARK, sentence, variant.name, None, None, None)


def _unjudged(report: Report) -> Iterator[Entry]:
    if not report.complete:
        for reason in report.missing or ("The run ended early.",):
            yield Entry(Severity.FAIL, Reason.UNMEASURED, reason, None, None, None, None)
    for sentence in report.unwatched:
        yield Entry(Severity.WARN, Reason.UNWATCHED, sentence, None, None, None, None)
    for sentence in report.notes:
        yield Entry(Severity.WARN, Reason.REMARK, sentence, None, None, None, None)
    found = [
        _of_site(site, variant.name, outside=outside)
        for variant in report.variants
        for outside, sites in ((False, variant.sites), (True, variant.outside_sites))
        for site in sites
    ]
    yield from (entry for entry in found if entry.severity is Severity.WARN)
    yield from (entry for entry in found if entry.severity is Severity.NOTE)
    for variant in report.variants:
        yield from _remarks(variant)


def _spot(site: Site) -> str:
    """Return what a reader needs beside file and line: both mean less, or nothing, of what no line is known for."""
    if site.file == NO_LINE:
        return f" (no Python line: {site.waiter})"
    return "" if site.exact_line else f" in function {site.function} (defined at {site.file}:{site.line})"


def _of_site(site: Site, variant: str, *, outside: bool) -> Entry:
    settled = site.explicit or site.allowed is not None
    allowed = "" if site.allowed is None else f" Allowed: {site.allowed}"
    return Entry(
        severity=Severity.NOTE if settled else Severity.WARN,
        reason=None,
        message=f"{site.code}{_spot(site)}{', outside every step' if outside else ''}: {site.title}.{allowed}",
        variant=variant,
        site=site,
        file=None if site.file == NO_LINE else site.file,
        line=site.line or None,
        outside=outside,
    )
