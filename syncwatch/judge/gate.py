"""Answers: is this report within the policy, over it, or could it not be measured?"""

from __future__ import annotations

from collections.abc import Sequence

from syncwatch.model.finding import Report, Site, Variant
from syncwatch.model.verdict import Outcome, Policy, Verdict


def judge(report: Report, policy: Policy) -> Verdict:
    """Return the verdict on `report`; what could not be measured is never clean.

    Synchronizations that the user asked for are not judged. Without named variants the last one is: the candidate.
    """
    variants, reasons = _judged(report, policy)
    over = [variant for variant in variants if implicit_syncs(variant) > policy.max_syncs_per_step]
    reasons += _unmeasured(report, variants)
    if reasons:
        return Verdict(Outcome.UNMEASURED, tuple(reasons), _worst(over))
    if over:
        return Verdict(Outcome.OVER, tuple(_excess(variant, policy) for variant in over), _worst(over))
    return Verdict(Outcome.CLEAN, (), ())


def implicit_syncs(variant: Variant) -> float:
    """Return the synchronizations a step that nobody asked for."""
    return variant.per_step.syncs - variant.per_step.explicit_syncs


def _judged(report: Report, policy: Policy) -> tuple[Sequence[Variant], list[str]]:
    if not policy.variants:
        return report.variants[-1:], []
    known = {variant.name: variant for variant in report.variants}
    reasons = [
        f"There is no variant {name!r}; the run has {', '.join(known) or 'none'}."
        for name in policy.variants
        if name not in known
    ]
    return [known[name] for name in policy.variants if name in known], reasons


def _unmeasured(report: Report, variants: Sequence[Variant]) -> list[str]:
    reasons: list[str] = []
    if not report.complete:
        reasons += report.missing or ("The run ended early.",)
    if not report.variants:
        reasons.append("The run recorded nothing.")
    for variant in variants:
        if not variant.steps:
            reasons.append(f"{variant.name}: no step was measured after the warm-up.")
        elif variant.coverage.seen is None and not variant.per_step.syncs:
            # Silence of sensors that cannot count must never look like health.
            reasons.append(f"{variant.name}: no synchronization was seen, and no sensor ran that would count them.")
    return reasons


def _excess(variant: Variant, policy: Policy) -> str:
    count = implicit_syncs(variant)
    noun = "synchronization" if count == 1 else "synchronizations"
    return f"{variant.name}: {count:g} implicit {noun} a step, {policy.max_syncs_per_step:g} allowed."


def _worst(variants: Sequence[Variant]) -> tuple[Site, ...]:
    sites = [site for variant in variants for site in variant.sites if not site.explicit]
    return tuple(
        sorted(
            sites,
            key=lambda site: (-(site.gpu_idle_us or 0.0), -(site.host_blocked_us or 0.0), -site.calls_per_step),
        )
    )
