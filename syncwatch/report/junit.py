"""What a CI server shows as tests: JUnit XML as Jenkins reads it, a suite a variant, a case a line."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from typing import ClassVar

from typing_extensions import assert_never

from syncwatch.model.report import NO_LINE, Report
from syncwatch.model.verdict import Reason, Severity, Verdict
from syncwatch.report import text
from syncwatch.report.entries import Entry, block_of, entries_of

_MAX_NAME = 400
_MAX_MESSAGE = 2_000
_NOT_JUDGED = "not judged: syncwatch gate decides which lines may wait"


class JUnitReporter:
    """Renders a case for each line and each other thing that was said.

    A failure is over policy, an error could not be measured, skipped is allowed. Without a verdict nothing was judged,
    so lines are skipped too. A variant where nothing waits has one case that passed.
    """

    suffix: ClassVar[str] = ".xml"

    def __init__(self, verdict: Verdict | None = None) -> None:
        """Set up.

        Args:
            verdict: what a gate said; None where nothing was judged.
        """
        self._verdict = verdict

    def render(self, report: Report) -> str:
        """Return the document; what XML cannot hold is spelled out."""
        entries = entries_of(report, self._verdict)
        judged = [each.name for each in report.variants] if self._verdict is None else list(self._verdict.variants)
        root = ET.Element("testsuites", name="syncwatch")
        for name in judged:
            own = [entry for entry in entries if entry.variant == name]
            cases = [_case(entry, report) for entry in own if not _is_remark(entry)] or [_passed()]
            root.append(_suite(f"{report.target} ({name})", cases, filter(_is_remark, own)))
        others = [entry for entry in entries if entry.variant not in judged]
        rest = [_case(entry, report) for entry in others if not _is_remark(entry)]
        if others or not judged:
            root.append(_suite(report.target, rest or [_passed()], filter(_is_remark, others)))
        _count(root, list(root.iter("testcase")))
        ET.indent(root, " ")
        return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _is_remark(entry: Entry) -> bool:
    """Return whether `entry` is what a reader should know, and nothing that passes or fails."""
    return entry.reason is Reason.REMARK


def _suite(name: str, cases: Sequence[ET.Element], remarks: Iterable[Entry]) -> ET.Element:
    suite = ET.Element("testsuite", name=_name(name))
    suite.extend(cases)
    _count(suite, cases)
    suite.set("skipped", str(_holding(cases, "skipped")))
    said = "\n".join(text.shown(each.message) for each in remarks)
    if said:
        ET.SubElement(suite, "system-out").text = said
    return suite


def _count(element: ET.Element, cases: Sequence[ET.Element]) -> None:
    element.set("tests", str(len(cases)))
    element.set("failures", str(_holding(cases, "failure")))
    element.set("errors", str(_holding(cases, "error")))


def _holding(cases: Iterable[ET.Element], tag: str) -> int:
    return sum(case.find(tag) is not None for case in cases)


def _passed() -> ET.Element:
    return ET.Element("testcase", name="no line waits that may not", classname="syncwatch")


def _case(entry: Entry, report: Report) -> ET.Element:
    case = ET.Element("testcase", name=_name(_title(entry)), classname=_name(entry.file or "syncwatch"))
    body = block_of(entry, report)
    tag = _tag(entry)
    if tag is not None:
        message = text.crop_right(text.shown(entry.message), _MAX_MESSAGE)
        if entry.reason is None and entry.site is not None and entry.site.allowed is None:
            message = _NOT_JUDGED
        outcome = ET.SubElement(case, tag, type=entry.rule, message=message)
        outcome.text = body
    else:
        ET.SubElement(case, "system-out").text = text.shown(entry.message) + (f"\n{body}" if body else "")
    return case


def _title(entry: Entry) -> str:
    site = entry.site
    if site is None:
        return entry.rule.replace("-", " ") if entry.file is None else f"{entry.rule} {entry.file}:{entry.line or ''}"
    if site.file == NO_LINE:
        return f"{site.code} {site.waiter}"
    line = f"line {site.line}" if site.exact_line else f"defined at line {site.line}"
    outside = " outside every step" if entry.outside else ""
    return f"{site.code} {site.function or site.api}" + (f" {line}" if site.line else "") + outside


def _tag(entry: Entry) -> str | None:
    if entry.reason is Reason.UNMEASURED:
        return "error"
    if entry.reason is Reason.UNWATCHED and entry.severity is not Severity.FAIL:
        return "skipped"
    if entry.reason in (None, Reason.ALLOWED):
        return "skipped"
    if entry.severity is Severity.FAIL:
        return "failure"
    if entry.severity is Severity.WARN or entry.severity is Severity.NOTE:
        return None
    assert_never(entry.severity)


def _name(name: str) -> str:
    return text.crop_right(text.shown(name), _MAX_NAME)
