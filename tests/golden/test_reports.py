"""Every format of one fixed session, compared to the files beside this one; `--rewrite-golden` writes them anew."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from syncwatch.judge.gate import judge
from syncwatch.model.report import Report
from syncwatch.model.session import DeviceKind
from syncwatch.model.verdict import Budgets, Level, Policy, Rule, Verdict
from syncwatch.pipeline import rendered, report_of
from syncwatch.report.formats import Format, JsonReporter, Reporter
from syncwatch.report.terminal import TerminalReporter
from tests.helpers.fakes import gdn_session, nsys_session

HERE = Path(__file__).parent


def measured() -> Report:
    return report_of(gdn_session())


def of_nsys() -> Report:
    return report_of(nsys_session())


def modelled() -> Report:
    """Return the same run as the virtual device would report it, ended early."""
    known = gdn_session()
    recordings = tuple(replace(each, modelled=True, kernels=None, copies=None) for each in known.recordings)
    return report_of(
        replace(
            known,
            device=DeviceKind.VIRTUAL,
            recordings=recordings,
            outputs_equal=None,
            complete=False,
            missing=("It was interrupted after 4 of 20 steps.",),
        )
    )


@pytest.mark.parametrize(
    ("name", "reporter", "report"),
    [
        ("report", JsonReporter(), measured()),
        ("terminal-100", TerminalReporter(100), measured()),
        ("terminal-60", TerminalReporter(60), measured()),
        ("terminal-60-ascii", TerminalReporter(60, unicode=False), measured()),
        ("terminal-100-modelled", TerminalReporter(100), modelled()),
        ("terminal-100-color", TerminalReporter(100, color=True), measured()),
        ("terminal-40", TerminalReporter(40), measured()),
        ("trace-100", TerminalReporter(100), of_nsys()),
        ("trace-40", TerminalReporter(40), of_nsys()),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_format_is_as_it_was(name: str, reporter: Reporter, report: Report, request: pytest.FixtureRequest) -> None:
    rendered = reporter.render(report)
    golden = HERE / f"{name}{reporter.suffix}"
    if request.config.getoption("--rewrite-golden"):
        golden.write_text(rendered, encoding="utf-8")
    assert rendered == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize("form", [Format.JUNIT, Format.SARIF, Format.GITHUB, Format.MARKDOWN])
def test_the_format_of_a_trace_is_as_it_was(form: Format, request: pytest.FixtureRequest) -> None:
    text = rendered(form, of_nsys())
    golden = HERE / f"{form.value}-trace.{_SUFFIXES[form]}"
    if request.config.getoption("--rewrite-golden"):
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


def judged() -> Verdict:
    """Return what a policy says of the naive variant: one line fails, one is allowed, a budget is exceeded."""
    policy = Policy(
        paths=(Rule("kernels/**", Level.ALLOW),), budgets=Budgets(d2h_bytes=40.0), variants=("naive",), strict=True
    )
    return judge(measured(), policy, today=date(2026, 7, 31))


_SUFFIXES = {Format.JUNIT: "xml", Format.SARIF: "sarif", Format.GITHUB: "txt", Format.MARKDOWN: "md"}


@pytest.mark.parametrize("form", _SUFFIXES, ids=lambda form: str(form.value))
@pytest.mark.parametrize("verdict", [None, judged()], ids=["report", "verdict"])
def test_the_format_for_machines_is_as_it_was(
    form: Format, verdict: Verdict | None, request: pytest.FixtureRequest
) -> None:
    text = rendered(form, measured(), verdict)
    golden = HERE / f"{form.value}-{'report' if verdict is None else 'verdict'}.{_SUFFIXES[form]}"
    if request.config.getoption("--rewrite-golden"):
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")
