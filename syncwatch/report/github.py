"""What GitHub shows beside the lines of a change: workflow commands that become annotations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from typing_extensions import assert_never

from syncwatch.model.report import NO_LINE, Report, Site
from syncwatch.model.verdict import Severity, Verdict
from syncwatch.report import text
from syncwatch.report.entries import Entry, entries_of
from syncwatch.report.gain import StepLength, step_named
from syncwatch.report.site import cost_sentence

MAX_ANNOTATIONS = 10
"""GitHub drops what a step writes above ten of one kind.

https://docs.github.com/en/rest/checks/runs (annotations); of all kinds together we write no more than that.
"""

_MAX_NAME = 400
_MAX_MESSAGE = 2_000


class GithubReporter:
    """Renders annotations: failures as errors, warnings as warnings; notes are counted.

    Escapes are those of the runner's `ActionCommand`: `%`, carriage return and newline in the message, `:` and `,`
    too in a property.
    """

    suffix: ClassVar[str] = ".txt"

    def __init__(self, verdict: Verdict | None = None) -> None:
        """Set up.

        Args:
            verdict: what a gate said; without one every line that waits is a warning, or a notice if it was asked for.
        """
        self._verdict = verdict

    def render(self, report: Report) -> str:
        """Return one workflow command a line, at most ten, the worst first."""
        entries = _distinct(entries_of(report, self._verdict))
        if self._verdict is not None:
            entries = [entry for entry in entries if entry.severity is not Severity.NOTE]
        else:
            # Ten are few: what is beside the lines is in the other formats.
            entries = [entry for entry in entries if entry.site is not None or entry.severity is not Severity.NOTE]
        shown = entries if len(entries) <= MAX_ANNOTATIONS else entries[: MAX_ANNOTATIONS - 1]
        lines = [_command(entry, step_named(entry.variant, report)) for entry in shown]
        lines += _rest(entries[len(shown) :])
        return "".join(f"{line}\n" for line in lines)


def _distinct(entries: Sequence[Entry]) -> list[Entry]:
    """Leave out what another variant of the same run already says at the same line."""
    known: dict[tuple[object, ...], Entry] = {}
    for entry in entries:
        code = _wording(entry.site) if entry.site is not None else (entry.message,)
        known.setdefault((entry.rule, entry.file, entry.line, entry.outside, *code), entry)
    return list(known.values())


def _wording(site: Site) -> tuple[str | None, ...]:
    return site.source, site.expression, site.waiter if site.file == NO_LINE else None


def _rest(entries: Sequence[Entry]) -> Iterator[str]:
    if entries:
        title = f"{text.plural(len(entries), 'more entry')} not shown here"
        kind = _kind(entries[0].severity)
        yield f"::{kind} title={_property(title)}::{_data('Write them all with --format json, sarif or junit.')}"


def _command(entry: Entry, step: StepLength) -> str:
    properties = {}
    if entry.file is not None:
        properties["file"] = text.shown(entry.file)
        if entry.line:
            properties["line"] = str(entry.line)
    if entry.site is not None:
        properties["title"] = f"{entry.site.code} {entry.site.title}"
    else:
        properties["title"] = f"syncwatch: {entry.rule.replace('-', ' ')}"
    pairs = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::{_kind(entry.severity)} {pairs}::{_data(_message(entry, step))}"


def _message(entry: Entry, step: StepLength) -> str:
    site = entry.site
    said = text.crop_right(text.shown(entry.message), _MAX_MESSAGE)
    if site is None:
        return said
    source = f"\n    {text.crop_right(text.shown(site.source), _MAX_NAME)}" if site.source else ""
    return f"{said}{source}\nCost: {cost_sentence(site, step, outside=entry.outside)}.\nHelp: {site.hint}"


def _kind(severity: Severity) -> str:
    if severity is Severity.FAIL:
        return "error"
    if severity is Severity.WARN:
        return "warning"
    if severity is Severity.NOTE:
        return "notice"
    assert_never(severity)


def _data(value: str) -> str:
    return value.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(value: str) -> str:
    return _data(value).replace(":", "%3A").replace(",", "%2C")
