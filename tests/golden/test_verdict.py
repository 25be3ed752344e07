"""A verdict of each kind on one fixed session, as a terminal shows it; `--rewrite-golden` writes the files anew."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from syncwatch.judge.gate import baseline_of, judge
from syncwatch.model.verdict import Allow, Budgets, KnownSite, Pattern, Policy, Verdict
from syncwatch.pipeline import report_of
from syncwatch.report.verdict import VerdictReporter
from tests.helpers.fakes import gdn_session

HERE = Path(__file__).parent
TODAY = date(2026, 7, 31)
REPORT = report_of(gdn_session())
NAIVE = ("naive",)


def allow(path: str, until: date | None = None) -> Allow:
    return Allow(("SW1", "SW2"), "the batch is read once a request", until, Pattern(path, None), "pyproject.toml", 40)


def known(policy: Policy) -> tuple[KnownSite, ...]:
    return baseline_of(REPORT, policy, (), TODAY)


def over() -> Verdict:
    """Return a verdict with a line that fails, an allow that has expired, one that is not used, and a budget."""
    policy = Policy(
        variants=NAIVE,
        allows=(allow("scenarios/", date(2026, 6, 30)), allow("app/serve.py")),
        budgets=Budgets(gpu_idle_us=100.0),
    )
    return judge(REPORT, policy, today=TODAY)


def clean() -> Verdict:
    """Return a verdict with an allowed line, a known one, and one that is gone."""
    policy = Policy(variants=NAIVE)
    allowed = Policy(variants=NAIVE, allows=(allow("scenarios/"),))
    return judge(REPORT, allowed, baseline=known(policy), today=TODAY)


def unmeasured() -> Verdict:
    return judge(REPORT, Policy(variants=("fast",)), unreached=("app.model:Model.forward",), today=TODAY)


@pytest.mark.parametrize(
    ("name", "verdict", "reporter"),
    [
        ("over-100", over(), VerdictReporter(100)),
        ("over-60-ascii", over(), VerdictReporter(60, unicode=False)),
        ("over-100-color", over(), VerdictReporter(100, color=True)),
        ("clean-100", clean(), VerdictReporter(100)),
        ("unmeasured-100", unmeasured(), VerdictReporter(100)),
        ("short-100", over(), VerdictReporter(100, max_sites=1)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_verdict_is_as_it_was(
    name: str, verdict: Verdict, reporter: VerdictReporter, request: pytest.FixtureRequest
) -> None:
    rendered = reporter.render(REPORT, verdict)
    golden = HERE / f"verdict-{name}{reporter.suffix}"
    if request.config.getoption("--rewrite-golden"):
        golden.write_text(rendered, encoding="utf-8")
    assert rendered == golden.read_text(encoding="utf-8")
