"""What a reader of the job summary sees: one Markdown page with the verdict, the lines, the figures."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

from syncwatch.model.report import NO_LINE, UNKNOWN, RecordingSummary, Report, Site
from syncwatch.model.session import DeviceKind, RecordedBy
from syncwatch.model.verdict import Severity, Verdict
from syncwatch.report import text
from syncwatch.report.entries import Entry, entries_of
from syncwatch.report.gain import StepLength, gain_sentence, step_named
from syncwatch.report.terminal import provenance
from syncwatch.report.verdict import verdict_sentence

_MAX_NAME = 200
_MARKUP = re.compile(r"([\\`*_\[\]<>|~&#$@!])")
_MARKS = {Severity.FAIL: "fails", Severity.WARN: "warning", Severity.NOTE: "note"}

_ROWS: tuple[tuple[str, bool, Callable[[RecordingSummary], str]], ...] = (
    ("syncs", False, lambda variant: text.count(variant.per_step.syncs)),
    ("D2H copies", False, lambda variant: text.count(variant.per_step.d2h_copies)),
    ("D2H bytes", False, lambda variant: text.size(variant.per_step.d2h_bytes)),
    ("gain without implicit waits", True, lambda variant: text.micros(variant.per_step.gain_us)),
    ("host blocked", True, lambda variant: text.micros(variant.per_step.host_blocked_us)),
    ("GPU idle", True, lambda variant: text.micros(variant.per_step.gpu_idle_us)),
    ("step time", True, lambda variant: text.micros(None if variant.step_ms is None else variant.step_ms.median * 1e3)),
)
"""Label, whether it is a time, and the figure a step."""


class MarkdownReporter:
    """Renders a page for `$GITHUB_STEP_SUMMARY`, whose limit is 1 MiB: names are cropped, rows too many are counted."""

    suffix: ClassVar[str] = ".md"

    def __init__(self, verdict: Verdict | None = None, *, max_sites: int = 50) -> None:
        """Set up.

        Args:
            verdict: what a gate said; None where nothing was judged.
            max_sites: rows of findings; the rest is counted.
        """
        self._verdict = verdict
        self._max_sites = max_sites

    def render(self, report: Report) -> str:
        """Return the page in GitHub's Markdown."""
        return "\n".join(self._lines(report)) + "\n"

    def _lines(self, report: Report) -> Iterator[str]:
        yield f"### syncwatch: {_code(report.target)}"
        yield ""
        if self._verdict is not None:
            yield f"**{escaped(verdict_sentence(report, self._verdict))}**"
            yield ""
        entries = entries_of(report, self._verdict)
        yield from self._findings(entries, report)
        yield from _said(entries)
        if report.variants:
            yield from _figures(report)
        yield _where(report)

    def _findings(self, entries: Sequence[Entry], report: Report) -> Iterator[str]:
        found = [(entry, entry.site) for entry in entries if entry.site is not None]
        if not found:
            yield "No line waits."
            yield ""
            return
        yield "| | cause | line | code | gain | calls a step | host blocked | GPU idle |"
        yield "|---|---|---|---|---|---:|---:|---:|"
        for entry, site in found[: self._max_sites]:
            yield _row(entry, site, step_named(entry.variant, report))
        yield ""
        if len(found) > self._max_sites:
            yield f"and {text.plural(len(found) - self._max_sites, 'more line')}; `--format json` has them all"
            yield ""


def _row(entry: Entry, site: Site, step: StepLength) -> str:
    place = f"no Python line; seen as {site.waiter}" if site.file == NO_LINE else f"{entry.file}:{entry.line}"
    place = place if site.exact_line else f"in function {site.function} (defined at {place})"
    mark = _MARKS[entry.severity] if entry.reason is None else entry.reason.value.replace("-", " ")
    cells = (
        mark,
        escaped(f"{site.code} {site.title}"),
        _code(place),
        _code(site.source) if site.source else "",
        "" if entry.outside else escaped(gain_sentence(site, step)),
        text.number(site.calls_per_step) + (" in the run, outside every step" if entry.outside else ""),
        text.micros(site.host_blocked_us),
        text.micros(site.gpu_idle_us),
    )
    return f"| {' | '.join(cells)} |"


def _said(entries: Sequence[Entry]) -> Iterator[str]:
    """Yield what was said beside the lines."""
    others = [entry for entry in entries if entry.site is None]
    for entry in others:
        yield f"- {_MARKS[entry.severity]}: {escaped(text.crop_right(text.shown(entry.message), 4 * _MAX_NAME))}"
    if others:
        yield ""


def _figures(report: Report) -> Iterator[str]:
    modelled = report.device is DeviceKind.VIRTUAL
    yield f"| per step | {' | '.join(_code(variant.name) for variant in report.variants)} |"
    yield "|---|" + "---:|" * len(report.variants)
    for label, is_time, figure in _ROWS:
        mark = " (modelled)" if is_time and modelled else ""
        yield f"| {label}{mark} | {' | '.join(figure(variant) for variant in report.variants)} |"
    yield ""


def _where(report: Report) -> str:
    gpu = report.environment.gpu or "CUDA"
    where = "the virtual CUDA device; times are modelled" if report.device is DeviceKind.VIRTUAL else gpu
    version = report.environment.torch
    torch = "" if version in ("", UNKNOWN) else f", torch {escaped(text.shown(version))}"
    recorded = f"; {escaped(provenance(report))}" if report.recorder is not RecordedBy.SYNCWATCH else ""
    return f"On {escaped(text.shown(where))}{torch}{recorded}."


def escaped(words: str) -> str:
    """Return `words` with every mark that Markdown could act upon escaped."""
    return _MARKUP.sub(r"\\\1", text.shown(words))


def _code(words: str) -> str:
    """Return `words` as a code span in a table: fenced by more backticks than it holds, pipes escaped."""
    shown = text.crop_right(text.shown(words), _MAX_NAME)
    longest = max((len(run) for run in re.findall("`+", shown)), default=0)
    fence = "`" * (longest + 1)
    # A blank at each end is taken off again, and keeps a backtick there from joining the fence.
    body = shown.replace("|", "\\|")
    return f"{fence} {body} {fence}" if shown.startswith("`") or shown.endswith("`") else f"{fence}{body}{fence}"
