"""Judges whether a report is within the policy and its budgets, over them, or could not be measured."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date

from syncwatch.judge.allows import expired
from syncwatch.judge.baseline import entries_for, entries_of, larger, variant_scope
from syncwatch.judge.policy import RunFiles, judge_rules
from syncwatch.judge.sites import by_baseline, by_budget, gone_sites, sort_sites
from syncwatch.model.report import PerStep, RecordingSummary, Report, WorstStep
from syncwatch.model.session import DeviceKind
from syncwatch.model.verdict import (
    Allow,
    Budgets,
    KnownSite,
    Level,
    Outcome,
    Policy,
    Reason,
    Ruling,
    Severity,
    SiteKey,
    Verdict,
)

_TIMES = ("host_blocked_us", "gpu_idle_us", "gain_us")


def judge_budgets(
    variant: RecordingSummary, policy: Policy, device: DeviceKind, disallowed: float, most: float
) -> Iterator[Ruling]:
    """Yield a ruling for each budget that the worst step exceeds, or that could not be judged.

    Args:
        variant: whose step is judged.
        policy: with the budgets.
        device: times of the virtual one are modelled, and held against no budget.
        disallowed: synchronizations a step that no allow and no level lets pass, on average.
        most: the same, of the step that has the most.
    """
    yield from _judge(variant, "syncs", disallowed, most, policy.budgets.syncs)
    for name, limit in _figures(policy.budgets):
        if limit is None:
            continue
        if name in _TIMES and device is DeviceKind.VIRTUAL:
            yield _not_judged(variant, name, limit, policy)
        else:
            yield from _judge(variant, name, _measured(variant.per_step, name), _worst(variant, name), limit)


def _figures(budgets: Budgets) -> tuple[tuple[str, float | None], ...]:
    return (
        ("d2h_copies", budgets.d2h_copies),
        ("d2h_bytes", budgets.d2h_bytes),
        ("host_blocked_us", budgets.host_blocked_us),
        ("gpu_idle_us", budgets.gpu_idle_us),
        ("gain_us", budgets.gain_us),
    )


def _measured(per_step: PerStep | WorstStep, name: str) -> float | None:
    figures = {
        "d2h_copies": per_step.d2h_copies,
        "d2h_bytes": per_step.d2h_bytes,
        "host_blocked_us": per_step.host_blocked_us,
        "gpu_idle_us": per_step.gpu_idle_us,
        # A gain is one of all steps together: what a wait costs one of them, the next may get back.
        "gain_us": per_step.gain_us if isinstance(per_step, PerStep) else None,
    }
    return figures[name]


def _worst(variant: RecordingSummary, name: str) -> float | None:
    return None if variant.worst_step is None else _measured(variant.worst_step, name)


def _judge(
    variant: RecordingSummary, name: str, average: float | None, worst: float | None, limit: float | None
) -> Iterator[Ruling]:
    if limit is None:
        return
    if average is None:
        said = f"{variant.name}: {name} was not measured, and the policy has a budget of {limit:g} for it."
        if name == "gain_us" and variant.replay is not None and variant.replay.unknown is not None:
            said += f" {variant.replay.unknown}"
        yield Ruling(Severity.FAIL, Reason.UNMEASURED, said, said, variant.name, limit=limit)
        return
    measured = average if worst is None else max(average, worst)
    # Not `measured > limit`, which a figure that is no number would pass.
    if not measured <= limit:
        # Seven calls in three steps are no exact number.
        even = math.isclose(measured, average, rel_tol=1e-9)
        figure = f"{measured:g} a step" if even else f"{measured:g} in the worst step ({average:g} on average)"
        said = f"{variant.name}: {name} is {figure}, and the budget is {limit:g}."
        yield Ruling(Severity.FAIL, Reason.OVER_BUDGET, said, said, variant.name, measured=measured, limit=limit)


def _not_judged(variant: RecordingSummary, name: str, limit: float, policy: Policy) -> Ruling:
    said = (
        f"{variant.name}: the budget of {limit:g} for {name} was not judged, since times of the virtual device are "
        "modelled. Judge it with --device cuda."
    )
    if policy.strict:
        return Ruling(Severity.FAIL, Reason.UNMEASURED, said, said, variant.name, limit=limit)
    return Ruling(Severity.WARN, Reason.NOT_JUDGED, said, said, variant.name, limit=limit)


_ORDER = (Severity.FAIL, Severity.WARN, Severity.NOTE)


def judge(
    report: Report,
    policy: Policy,
    *,
    comments: Sequence[Allow] = (),
    baseline: Sequence[KnownSite] | None = None,
    unreached: Sequence[str] = (),
    files: RunFiles | None = None,
    today: date,
) -> Verdict:
    """Return the verdict on `report`; what could not be measured is never clean.

    Args:
        report: what was found.
        policy: what is asked. Without named variants the last one is judged: the candidate.
        comments: the reasons that the source gives.
        baseline: the sites that are known; None where there is no baseline.
        unreached: functions that had to run and did not.
        files: those of the run, for rules of paths that match none; None where they are not known.
        today: the day that expiries are held against.
    """
    allows = (*comments, *policy.allows)
    variants, unknown = _judged(report, policy)
    rulings = [_unmeasured(reason, None) for reason in unknown]
    rulings += (
        _unmeasured(f"{name} was required and never ran, so nothing in it was judged.", None) for name in unreached
    )
    rulings += _not_measured(report, variants)
    rulings += _unwatched(report, policy)
    whole = not rulings and report.window is None
    used: set[Allow] = set()
    shared = Counter(variant_scope(variant) for variant in variants)
    for variant in variants:
        found = sort_sites(variant, policy, allows, today)
        outside = sort_sites(variant, _outside(policy, variant), allows, today, outside=True)
        for part in (found, outside):
            used |= part.used
            rulings += part.rulings
            if baseline is None:
                rulings += by_budget(part, policy)
                continue
            known = entries_for(baseline, report.target, part.scope)
            rulings += by_baseline(part, known, report.target)
            # What a window or a part of a run did not reach is not gone, nor what another process of its entry does.
            if whole and shared[variant_scope(variant)] == 1:
                rulings += gone_sites(part, known, report.target, strict=policy.strict)
        rulings += judge_budgets(variant, policy, report.device, found.syncs, found.most_syncs)
    if variants:
        rulings += judge_rules(report, variants, policy, files)
    if report.window is None:
        rulings += (_unused(allow, today) for allow in allows if allow not in used)
    rulings += (Ruling(Severity.WARN, Reason.REMARK, note, note) for note in report.notes)
    ordered = sorted(rulings, key=lambda ruling: _ORDER.index(ruling.severity))
    return Verdict(_outcome(ordered), report.device, tuple(variant.name for variant in variants), tuple(ordered))


def baseline_of(report: Report, policy: Policy, comments: Sequence[Allow], today: date) -> tuple[KnownSite, ...]:
    """Return the entries of a baseline under which the disallowed sites of `report` would be known."""
    allows = (*comments, *policy.allows)
    entries = (
        entry
        for variant in _judged(report, policy)[0]
        for outside in (False, True)
        for found in [sort_sites(variant, _outside(policy, variant), allows, today, outside=outside)]
        for entry in entries_of(report.target, found.scope, (site for site, _ in found.disallowed))
    )
    largest: dict[tuple[str, SiteKey], KnownSite] = {}
    for entry in entries:
        known = largest.setdefault((entry.variant, entry.key), entry)
        largest[entry.variant, entry.key] = larger(known, entry)
    return tuple(largest.values())


def _outside(policy: Policy, variant: RecordingSummary) -> Policy:
    """Return `policy` for what lies outside the steps: of a trace they are what the user chose to look at."""
    if variant.marks_steps or policy.outside_steps is not Level.DISALLOW:
        return policy
    return replace(policy, outside_steps=Level.LOG)


def _judged(report: Report, policy: Policy) -> tuple[Sequence[RecordingSummary], list[str]]:
    if not policy.variants:
        return report.candidates, []
    known = {variant.name: variant for variant in report.variants}
    reasons = [
        f"There is no variant {name!r}; the run has {', '.join(known) or 'none'}."
        for name in policy.variants
        if name not in known
    ]
    return [known[name] for name in policy.variants if name in known], reasons


def _not_measured(report: Report, variants: Iterable[RecordingSummary]) -> Iterator[Ruling]:
    if not report.complete:
        for reason in report.missing or ("The run ended early.",):
            yield _unmeasured(reason, None)
    if not report.variants:
        yield _unmeasured("The run recorded nothing.", None)
    for variant in variants:
        if variant.used_gpu is False:
            yield _unmeasured(
                f"{variant.name}: nothing ran on the GPU, so there is nothing to judge. Give the target arguments with "
                "which it reaches its work on the device, and look whether that still is a CUDA device.",
                variant,
            )
        elif not variant.steps:
            yield _unmeasured(f"{variant.name}: no step was measured after the warm-up.", variant)
        elif variant.coverage.seen is None and not variant.per_step.syncs:
            # Silence of sensors that cannot count must never look like health.
            reason = f"{variant.name}: no synchronization was seen, and no sensor ran that would count them."
            yield _unmeasured(reason, variant)


def _unwatched(report: Report, policy: Policy) -> Iterator[Ruling]:
    for sentence in report.unwatched:
        if policy.unwatched is Level.DISALLOW:
            yield _unmeasured(sentence, None)
        else:
            severity = Severity.WARN if policy.unwatched is Level.LOG else Severity.NOTE
            yield Ruling(severity, Reason.UNWATCHED, sentence, sentence)


def _unmeasured(reason: str, variant: RecordingSummary | None) -> Ruling:
    return Ruling(Severity.FAIL, Reason.UNMEASURED, reason, reason, variant.name if variant else None)


def _unused(allow: Allow, today: date) -> Ruling:
    since = f", and it ended on {allow.until}" if expired(allow, today) else ""
    said = f"The allow at {allow.file}:{allow.line} covers nothing that waited in this run{since}: {allow.reason}"
    return Ruling(Severity.WARN, Reason.UNUSED_ALLOW, said, said, file=allow.file, line=allow.line)


def _outcome(rulings: Iterable[Ruling]) -> Outcome:
    failing = [ruling.reason for ruling in rulings if ruling.severity is Severity.FAIL]
    if Reason.UNMEASURED in failing:
        return Outcome.UNMEASURED
    return Outcome.OVER if failing else Outcome.CLEAN
