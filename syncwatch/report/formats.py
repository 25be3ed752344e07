"""Every format that a report can be shown in, which reporter makes each, and what a reporter is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, Protocol

import msgspec
from typing_extensions import assert_never

from syncwatch.model.analysis import Analysis
from syncwatch.model.codec import encode
from syncwatch.model.report import Report, RuleHelp, Site
from syncwatch.model.verdict import Verdict
from syncwatch.report.github import GithubReporter
from syncwatch.report.html.reporter import HtmlReporter
from syncwatch.report.junit import JUnitReporter
from syncwatch.report.markdown import MarkdownReporter
from syncwatch.report.sarif import SarifReporter
from syncwatch.report.terminal import TerminalReporter
from syncwatch.report.verdict import VerdictReporter


class Reporter(Protocol):
    """One output format."""

    suffix: ClassVar[str]
    """What a file of this format ends with, as `.json`."""

    def render(self, report: Report) -> str:
        """Return `report` in this format, ending in a newline."""


class JsonReporter:
    """Renders the records as they are; what was not measured is null."""

    suffix: ClassVar[str] = ".json"

    def render(self, report: Report) -> str:
        """Return `report` as indented JSON."""
        return encode(report).decode()


class Format(str, Enum):
    """How a report is shown."""

    TERMINAL = "terminal"
    JSON = "json"
    JUNIT = "junit"
    SARIF = "sarif"
    GITHUB = "github"
    MARKDOWN = "markdown"
    HTML = "html"

    @property
    def shares(self) -> bool:
        """Whether other lines may stand before and after it: a log of CI, but no document of its own."""
        return self in (Format.TERMINAL, Format.GITHUB)


@dataclass(frozen=True, slots=True)
class Screen:
    """What stdout can show."""

    width: int = 100
    color: bool = False
    unicode: bool = True


@dataclass(frozen=True, slots=True)
class Reference:
    """What other stages know of a line, for the formats that link to it."""

    rules: Callable[[], Mapping[str, RuleHelp]]
    """Gives the help of each cause by its code."""
    fingerprint: Callable[[Site], str]
    """By what a line is known while the code around it moves."""


def render(
    form: Format,
    report: Report,
    verdict: Verdict | None,
    screen: Screen | None,
    analysis: Analysis | None,
    reference: Reference,
) -> str:
    """Return `report` as text.

    Args:
        form: the format.
        report: what was found.
        verdict: what a gate said of it; None where nothing was judged.
        screen: what the terminal's text is made for; None for a plain one.
        analysis: the waits behind `report`, for a format that draws them; None where they were not kept.
        reference: what a line is known by elsewhere.
    """
    screen = screen or Screen()
    if form is Format.TERMINAL:
        if verdict is not None:
            return VerdictReporter(screen.width, color=screen.color, unicode=screen.unicode).render(report, verdict)
        return TerminalReporter(screen.width, color=screen.color, unicode=screen.unicode).render(report)
    if form is Format.JSON:
        if verdict is not None:
            return encode({**msgspec.to_builtins(report), "verdict": verdict}).decode()
        return JsonReporter().render(report)
    if form is Format.JUNIT:
        return JUnitReporter(verdict).render(report)
    if form is Format.SARIF:
        return SarifReporter(reference.rules(), reference.fingerprint, verdict).render(report)
    if form is Format.GITHUB:
        return GithubReporter(verdict).render(report)
    if form is Format.MARKDOWN:
        return MarkdownReporter(verdict).render(report)
    if form is Format.HTML:
        return HtmlReporter(verdict, analysis).render(report)
    assert_never(form)
