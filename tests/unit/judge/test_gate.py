"""The verdict on a run by its policy, budgets and allowances; what was not measured is never clean."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from syncwatch.judge.gate import judge
from syncwatch.model.events import SyncKind
from syncwatch.model.report import Report
from syncwatch.model.session import Coverage, DeviceKind
from syncwatch.model.verdict import Allow, Budgets, Level, Outcome, Pattern, Policy, Reason, Rule, Severity
from syncwatch.pipeline import judge_of, report_of
from tests.helpers.fakes import Stacks, frame, gdn_session, recording, session, steps, sync
from tests.helpers.judging import TODAY, report, said, site, verdict_on

FAIL, WARN, NOTE = Severity.FAIL, Severity.WARN, Severity.NOTE


def allow(*codes: str, reason: str = "once a request", until: date | None = None, path: str | None = None) -> Allow:
    return Allow(codes, reason, until, Pattern(path, None), "pyproject.toml", 12)


def one_sync(**options: object) -> Report:
    return report_of(session(recording(syncs=[sync()]), **options))  # type: ignore[arg-type]


def test_the_candidate_is_judged_unless_told_otherwise() -> None:
    known = report_of(gdn_session())
    assert judge_of(known, Policy()).outcome is Outcome.CLEAN
    assert judge_of(known, Policy(variants=("naive",))).outcome is Outcome.OVER


def test_an_implicit_sync_is_over_and_named() -> None:
    verdict = judge_of(one_sync(), Policy())
    assert verdict.outcome is Outcome.OVER
    assert verdict.reasons == ("SW101 in step (app/train.py:7): disallowed by the default for implicit waits.",)
    assert [each.code for each in verdict.offenders] == ["SW101"]


def test_a_wait_that_was_asked_for_is_logged() -> None:
    stacks = Stacks()
    line = stacks.add(frame("torch.cuda.synchronize()", "torch.cuda.synchronize()"))
    known = recording(syncs=[sync(stack=line, kind=SyncKind.DEVICE)], stacks=stacks)
    verdict = judge_of(report_of(session(known)), Policy())
    assert verdict.outcome is Outcome.CLEAN
    assert said(verdict) == [(WARN, Reason.LOGGED, 7)]


def test_offenders_come_worst_first() -> None:
    stacks = Stacks()
    small, large = stacks.add(frame(line=1)), stacks.add(frame(line=2))
    known = recording(
        syncs=[sync(stack=small, at=(0, 10)), sync(stack=large, at=(20, 90))], kernels=None, stacks=stacks
    )
    verdict = judge_of(report_of(session(known, known)), Policy(variants=("naive",)))
    assert [each.line for each in verdict.offenders] == [2, 1]


def test_sites_within_the_sync_budget_are_noted_and_beyond_it_all_are_named() -> None:
    two = (site(line=1), site(line=2, calls=0.5))
    within = verdict_on(*two, policy=Policy(budgets=Budgets(syncs=1.5)))
    over = verdict_on(*two, policy=Policy(budgets=Budgets(syncs=1.4)))
    assert within.outcome is Outcome.CLEAN
    assert said(within) == [(NOTE, Reason.WITHIN_BUDGET, 1), (NOTE, Reason.WITHIN_BUDGET, 2)]
    assert over.outcome is Outcome.OVER
    assert said(over) == [
        (FAIL, Reason.NOT_ALLOWED, 1),
        (FAIL, Reason.NOT_ALLOWED, 2),
        (FAIL, Reason.OVER_BUDGET, None),
    ]
    assert (over.rulings[-1].measured, over.rulings[-1].limit) == (1.5, 1.4)


def test_what_a_rule_lets_pass_does_not_use_up_the_budget() -> None:
    policy = Policy(causes=(Rule("SW3", Level.LOG),), budgets=Budgets(syncs=1))
    assert verdict_on(site(), site(code="SW301", line=9), policy=policy).outcome is Outcome.CLEAN


@pytest.mark.parametrize("name", ["d2h_copies", "d2h_bytes", "host_blocked_us", "gpu_idle_us", "gain_us"])
@pytest.mark.parametrize(
    ("measured", "outcome"), [(8.0, Outcome.CLEAN), (8.5, Outcome.OVER), (None, Outcome.UNMEASURED)]
)
def test_each_budget_is_kept_exceeded_or_not_measured(name: str, measured: float | None, outcome: Outcome) -> None:
    policy = Policy(budgets=Budgets(**{name: 8.0}))
    verdict = judge(report(per_step={name: measured}), policy, today=TODAY)
    assert verdict.outcome is outcome
    assert all(name in reason for reason in verdict.reasons)


@pytest.mark.parametrize("name", ["host_blocked_us", "gpu_idle_us", "gain_us"])
def test_a_modelled_time_is_held_against_no_budget_and_that_is_said(name: str) -> None:
    known = report(device=DeviceKind.VIRTUAL, per_step={name: 1.0})
    policy = Policy(budgets=Budgets(**{name: 8.0}))
    relaxed = judge(known, policy, today=TODAY)
    strict = judge(known, replace(policy, strict=True), today=TODAY)
    assert (relaxed.outcome, said(relaxed)) == (Outcome.CLEAN, [(WARN, Reason.NOT_JUDGED, None)])
    assert (strict.outcome, said(strict)) == (Outcome.UNMEASURED, [(FAIL, Reason.UNMEASURED, None)])


def test_a_gain_that_is_not_known_has_its_reason() -> None:
    known = report_of(session(recording(syncs=[sync(at=(0, 10))], kernels=None)))
    verdict = judge(known, Policy(implicit=Level.ALLOW, budgets=Budgets(gain_us=50.0)), today=TODAY)
    assert verdict.outcome is Outcome.UNMEASURED
    assert verdict.reasons == (
        "naive: gain_us was not measured, and the policy has a budget of 50 for it. "
        "No gain is stated: what the GPU did was not recorded.",
    )


def test_a_gain_is_judged_as_the_replay_gave_it() -> None:
    known = report_of(gdn_session())
    gain = known.variants[0].per_step.gain_us
    assert gain is not None and gain > 1000
    policy = Policy(implicit=Level.ALLOW, variants=("naive",))
    kept, over = (
        judge(known, replace(policy, budgets=Budgets(gain_us=limit)), today=TODAY) for limit in (gain, gain - 1)
    )
    assert kept.outcome is Outcome.CLEAN
    assert over.outcome is Outcome.OVER and over.reasons[0].startswith("naive: gain_us is 1095")


def test_an_allowed_site_passes_with_its_reason_and_its_cost() -> None:
    verdict = verdict_on(site(calls=3), policy=Policy(allows=(allow("SW101"),)))
    (ruling,) = verdict.rulings
    assert verdict.outcome is Outcome.CLEAN
    assert (ruling.severity, ruling.reason, ruling.why) == (NOTE, Reason.ALLOWED, "allowed: once a request.")
    assert ruling.site is not None and (ruling.site.calls_per_step, ruling.measured) == (3, 3)


def test_a_block_of_code_allows_too() -> None:
    verdict = verdict_on(site(allowed="warm-up of the cache"))
    assert verdict.outcome is Outcome.CLEAN
    assert verdict.rulings[0].why == "allowed: warm-up of the cache."


def test_an_allow_holds_through_its_last_day_and_then_fails() -> None:
    policy = Policy(allows=(allow("SW1", until=TODAY),))
    assert verdict_on(site(), policy=policy).outcome is Outcome.CLEAN
    after = verdict_on(site(), policy=policy, today=date(2026, 8, 1))
    assert said(after) == [(FAIL, Reason.EXPIRED_ALLOW, 7)]
    assert "pyproject.toml:12 ended on 2026-07-31" in after.reasons[0]


def test_an_expired_allow_fails_even_within_the_budget_or_where_the_level_would_pass() -> None:
    gone = allow("SW1", until=date(2026, 1, 1))
    for policy in (Policy(budgets=Budgets(syncs=9)), Policy(implicit=Level.ALLOW)):
        assert verdict_on(site(), policy=replace(policy, allows=(gone,))).outcome is Outcome.OVER


def test_one_valid_allow_is_enough() -> None:
    policy = Policy(allows=(allow("SW1", until=date(2026, 1, 1)), allow("SW101")))
    assert verdict_on(site(), policy=policy).outcome is Outcome.CLEAN


def test_an_allow_that_covers_nothing_is_named_and_does_not_fail() -> None:
    verdict = verdict_on(policy=Policy(allows=(allow("SW2"),)))
    assert verdict.outcome is Outcome.CLEAN
    assert said(verdict) == [(WARN, Reason.UNUSED_ALLOW, 12)]


def test_a_required_function_that_never_ran_is_not_clean() -> None:
    verdict = judge(report(), Policy(), unreached=("app.model:Model.forward",), today=TODAY)
    assert verdict.outcome is Outcome.UNMEASURED
    assert "app.model:Model.forward" in verdict.reasons[0]


NOT_COUNTING = Coverage(("debug_mode",), (), None, 0)


@pytest.mark.parametrize(
    ("known", "reason"),
    [
        pytest.param(report_of(session()), "The run recorded nothing.", id="no-variant"),
        pytest.param(one_sync(complete=False), "The run ended early.", id="incomplete"),
        pytest.param(
            one_sync(complete=False, missing=("It ran out of memory.",)), "It ran out of memory.", id="killed"
        ),
        pytest.param(
            report_of(session(recording(steps=steps(1, warmup=1)))),
            "naive: no step was measured after the warm-up.",
            id="no-step",
        ),
        pytest.param(
            report_of(session(recording(coverage=NOT_COUNTING))),
            "naive: no synchronization was seen, and no sensor ran that would count them.",
            id="silence",
        ),
    ],
)
def test_what_could_not_be_measured_is_never_clean(known: Report, reason: str) -> None:
    verdict = judge_of(known, Policy(budgets=Budgets(syncs=100)))
    assert verdict.outcome is Outcome.UNMEASURED
    assert verdict.reasons == (reason,)


def test_an_unknown_variant_is_not_clean_and_the_known_ones_are_named() -> None:
    verdict = judge_of(report_of(gdn_session()), Policy(variants=("fast",)))
    assert verdict.outcome is Outcome.UNMEASURED
    assert verdict.reasons == ("There is no variant 'fast'; the run has naive, precomputed.",)
