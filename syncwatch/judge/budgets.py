"""Checks that the figures of a step are within their budgets, and that they could be measured at all."""

from __future__ import annotations

import math
from collections.abc import Iterator

from syncwatch.model.finding import PerStep, Variant, WorstStep
from syncwatch.model.session import DeviceKind
from syncwatch.model.verdict import Budgets, Policy, Reason, Ruling, Severity

_TIMES = ("host_blocked_us", "gpu_idle_us")


def judge_budgets(
    variant: Variant, policy: Policy, device: DeviceKind, disallowed: float, most: float
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
    )


def _measured(per_step: PerStep | WorstStep, name: str) -> float | None:
    figures = {
        "d2h_copies": per_step.d2h_copies,
        "d2h_bytes": per_step.d2h_bytes,
        "host_blocked_us": per_step.host_blocked_us,
        "gpu_idle_us": per_step.gpu_idle_us,
    }
    return figures[name]


def _worst(variant: Variant, name: str) -> float | None:
    return None if variant.worst_step is None else _measured(variant.worst_step, name)


def _judge(
    variant: Variant, name: str, average: float | None, worst: float | None, limit: float | None
) -> Iterator[Ruling]:
    if limit is None:
        return
    if average is None:
        said = f"{variant.name}: {name} was not measured, and the policy has a budget of {limit:g} for it."
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


def _not_judged(variant: Variant, name: str, limit: float, policy: Policy) -> Ruling:
    said = (
        f"{variant.name}: the budget of {limit:g} for {name} was not judged, since times of the virtual device are "
        "modelled. Judge it with --device cuda."
    )
    if policy.strict:
        return Ruling(Severity.FAIL, Reason.UNMEASURED, said, said, variant.name, limit=limit)
    return Ruling(Severity.WARN, Reason.NOT_JUDGED, said, said, variant.name, limit=limit)
