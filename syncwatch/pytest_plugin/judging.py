"""Judges whether a test kept to its marker, and keeps what that takes while pytest runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from syncwatch.app.gate import baseline_for, case_of
from syncwatch.app.project.config import Settings, read_settings
from syncwatch.judge.allows import reason_and_day
from syncwatch.model.report import Report
from syncwatch.model.session import DeviceKind, Session
from syncwatch.model.verdict import (
    Allow,
    Budgets,
    KnownSite,
    Level,
    Outcome,
    Pattern,
    Policy,
    Reason,
    Rule,
    Ruling,
    Severity,
    Verdict,
)
from syncwatch.pipeline import analysed
from syncwatch.pytest_plugin.marks import WORDS, Limit
from syncwatch.report.text import crop_right, plural
from syncwatch.report.text import shown as printable
from syncwatch.report.verdict import VerdictReporter
from syncwatch.sense.base import WatchedDevice
from syncwatch.sense.choose_device import DeviceChoice, open_device

TARGET = "pytest"
"""The target of every test; its variant is the node id."""

_MAX_HEADLINE = 400


@dataclass(frozen=True, slots=True)
class JudgedTest:
    """What was found in one test."""

    report: Report
    verdict: Verdict

    def text(self, limit: Limit, width: int) -> str:
        """Return why the test fails: a headline for the short summary, then what `syncwatch gate` would show."""
        first, *rest = self.verdict.reasons
        more = f" And {plural(len(rest), 'more reason')}." if rest else ""
        shown = VerdictReporter(width).render(self.report, self.verdict)
        marker = "" if first.startswith(f"{limit.marker}: ") else f"{limit.marker}: "
        return f"{marker}{crop_right(printable(first), _MAX_HEADLINE)}{more}\n\n{shown}"


def judge_test(
    session: Session,
    limit: Limit,
    settings: Settings,
    baseline: Sequence[KnownSite] | None,
    *,
    name: str,
    update: Path | None,
    unused: str | None = None,
) -> JudgedTest:
    """Return what is to be said of one test.

    Args:
        session: what was recorded while it ran.
        limit: what its marker asks.
        settings: what the project decided.
        baseline: the known sites; None where there is no baseline. A budget of the marker's own goes without.
        name: the node id.
        update: the baseline to write what is found to; None to leave it.
        unused: why nothing in it could have waited; None where it used the device.

    Raises:
        UsageError: if an allow comment is malformed, or the baseline cannot be written.
    """
    # A test may use no GPU: marks are given to whole modules.
    named = tuple(replace(recording, variant=name, used_gpu=None) for recording in session.recordings)
    analysis = analysed(replace(session, target=TARGET, recordings=named))
    waiting = tuple(dict.fromkeys(site.file for site in analysis.report.places))
    policy = policy_of(limit, settings.policy)
    case = case_of(analysis, settings, policy, files=waiting, folders=[Path.cwd()])
    known = None if limit.syncs is not None else baseline
    if update is not None and limit.syncs is None:
        case.accept(update, (name,))
        known = case.entries
    verdict = case.verdict(known)
    return JudgedTest(case.report, _of_this_test(verdict if unused is None else _unmeasured(verdict, unused, name)))


def policy_of(limit: Limit, policy: Policy) -> Policy:
    """Return the project's policy with the marker's say: what counts, what may wait, and how much."""
    codes = tuple(kind for kind in limit.kinds if kind not in WORDS)
    named = tuple(
        Allow(
            codes=(code,),
            reason=reason,
            until=reason_and_day(reason, f"The marker {limit.marker}")[1],
            where=Pattern(path=None, function=None),
            file=f"the marker {limit.marker}",
            line=0,
        )
        for code, reason in limit.allowed
    )
    return Policy(
        implicit=_level(limit, "implicit"),
        explicit=_level(limit, "explicit"),
        causes=(*(policy.causes if not codes else ()), *(Rule(code, Level.DISALLOW) for code in codes)),
        paths=policy.paths,
        ranges=policy.ranges,
        budgets=Budgets(syncs=limit.syncs),
        outside_steps=policy.outside_steps,
        unwatched=policy.unwatched,
        allows=(*policy.allows, *named),
    )


def _level(limit: Limit, word: str) -> Level:
    return Level.DISALLOW if not limit.kinds or word in limit.kinds else Level.ALLOW


def _unmeasured(verdict: Verdict, why: str, name: str) -> Verdict:
    ruling = Ruling(Severity.FAIL, Reason.UNMEASURED, why, why, name)
    return replace(verdict, outcome=Outcome.UNMEASURED, rulings=(ruling, *verdict.rulings))


def _of_this_test(verdict: Verdict) -> Verdict:
    """Leave out what other runs of the project have, sites, ranges and what allows cover: a test is a part."""
    of_others = (Reason.UNUSED_ALLOW, Reason.UNMATCHED_RULE, Reason.GONE)
    kept = (each for each in verdict.rulings if each.reason not in of_others)
    return replace(verdict, rulings=tuple(kept))


def merged(found: Sequence[JudgedTest]) -> JudgedTest:
    """Return every test as one report with a variant for each, and the verdict on all of them.

    Raises:
        ValueError: if there are none.
    """
    first = found[0].report
    coverage = first.coverage
    if any(each.report.coverage.seen is None for each in found):
        seen = None
    else:
        seen = sum(each.report.coverage.seen or 0 for each in found)
    report = replace(
        first,
        variants=tuple(variant for each in found for variant in each.report.variants),
        coverage=replace(coverage, seen=seen, attributed=sum(each.report.coverage.attributed for each in found)),
        complete=all(each.report.complete for each in found),
        missing=tuple(reason for each in found for reason in each.report.missing),
        comparison=None,
    )
    order = list(Severity)
    rulings = sorted(
        (ruling for each in found for ruling in each.verdict.rulings), key=lambda ruling: order.index(ruling.severity)
    )
    verdict = replace(
        found[0].verdict,
        outcome=max((each.verdict.outcome for each in found), key=_badness),
        variants=tuple(name for each in found for name in each.verdict.variants),
        rulings=tuple(rulings),
    )
    return JudgedTest(report, verdict)


def _badness(outcome: Outcome) -> int:
    return list(Outcome).index(outcome)


@dataclass
class Watching:
    """One run of pytest, or one worker of it."""

    choice: DeviceChoice
    root: Path
    """Where the configuration is looked for, and upwards from."""
    given_baseline: Path | None
    updates: bool
    """Whether the baseline is written."""
    kind: DeviceKind | None = None
    """Of the device that was on last; None where none was."""
    _device: WatchedDevice | None = None

    @cached_property
    def settings(self) -> Settings:
        """What the project decided."""
        return read_settings(self.root)

    @cached_property
    def _baseline(self) -> tuple[Path, tuple[KnownSite, ...] | None]:
        return baseline_for(self.settings, self.given_baseline, updating=self.updates)

    def device(self) -> WatchedDevice:
        """Return the device, on; the virtual one stays on for fixtures that several tests share.

        Raises:
            NotMeasuredError: if there is none to watch.
        """
        if self._device is None:
            self._device = open_device(self.choice)
            self.kind = self._device.kind
        return self._device

    def close(self) -> None:
        """Take the device off, if it is on."""
        if self._device is not None:
            self._device.close()
            self._device = None

    def judge(
        self, session: Session, limit: Limit, name: str, *, unused: str | None = None, left: tuple[str, ...] = ()
    ) -> JudgedTest:
        """Return what is to be said of the test called `name`.

        Args:
            session: what was recorded.
            limit: what the marker asks.
            name: the node id.
            unused: why nothing in it could have waited; None where something could.
            left: what it left running, a sentence each.

        Raises:
            UsageError: if the configuration, the baseline or an allow comment is malformed.
        """
        path, known = self._baseline
        update = path if self.updates else None
        session = replace(session, unwatched=(*session.unwatched, *left))
        return judge_test(session, limit, self.settings, known, name=name, update=update, unused=unused)
