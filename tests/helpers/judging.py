"""Sites, reports and verdicts with readable defaults, for tests of the gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

from syncwatch.judge.gate import judge
from syncwatch.model.report import Report, Site, WorstStep
from syncwatch.model.session import DeviceKind
from syncwatch.model.verdict import Allow, KnownSite, Policy, Reason, Severity, Verdict
from syncwatch.pipeline import report_of
from tests.helpers.fakes import recording, session, sync

WHOLE_CONFIG = """\
implicit = "log"
explicit = "disallow"
strict = true
baseline = "ci/known.jsonl"
require = ["app.model:Model.forward"]

[causes]
SW101 = "allow"
"SW3" = "log"

[paths]
"tests/**" = "allow"

[ranges]
"decode *" = "disallow"

[budgets]
syncs = 2
d2h_bytes = 4096.5
gpu_idle_us = 10
gain_us = 50

[[allow]]
code = ["SW101", "SW2"]
path = "app/*.py"
reason = " once a request "
until = 2027-03-01

[[allow]]
function = "log_*"
code = "SW104"
reason = "logging"
"""
"""A syncwatch.toml in which every key is used."""

TODAY = date(2026, 7, 31)

_REPORT = report_of(session(recording(syncs=[sync()])))


def site(
    source: str = "x.item()",
    *,
    code: str = "SW101",
    file: str = "app/train.py",
    line: int = 7,
    function: str = "step",
    calls: float = 1.0,
    explicit: bool = False,
    ranges: tuple[str, ...] = (),
    allowed: str | None = None,
    by_step: tuple[tuple[int, int], ...] = (),
) -> Site:
    """Return one line that waits."""
    return replace(
        _REPORT.sites[0],
        source=source,
        code=code,
        file=file,
        line=line,
        function=function,
        calls_per_step=calls,
        explicit=explicit,
        ranges=ranges,
        allowed=allowed,
        calls_by_step=by_step,
    )


def report(
    *sites: Site,
    outside: Sequence[Site] = (),
    target: str = "train.py",
    device: DeviceKind = DeviceKind.CUDA,
    per_step: Mapping[str, Any] | None = None,
    worst_step: WorstStep | None = None,
) -> Report:
    """Return a report of one variant with `sites`; `per_step` replaces figures of the step."""
    variant = _REPORT.variants[0]
    figures = replace(variant.per_step, syncs=sum(each.calls_per_step for each in sites), **(per_step or {}))
    judged = replace(variant, sites=tuple(sites), per_step=figures, outside_sites=tuple(outside), worst_step=worst_step)
    return replace(_REPORT, target=target, device=device, variants=(judged,))


def verdict_on(
    *sites: Site,
    policy: Policy | None = None,
    comments: Sequence[Allow] = (),
    baseline: Sequence[KnownSite] | None = None,
    today: date = TODAY,
) -> Verdict:
    """Return the verdict on a report of `sites`."""
    return judge(report(*sites), policy or Policy(), comments=comments, baseline=baseline, today=today)


def said(verdict: Verdict) -> list[tuple[Severity, Reason, int | None]]:
    """Return the findings of a verdict as short tuples, without their sentences."""
    return [(ruling.severity, ruling.reason, ruling.line) for ruling in verdict.rulings]
