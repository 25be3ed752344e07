"""Which sites a baseline knows, which are new, and which are gone, however the code around them moves."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from syncwatch.judge.baseline import entries_of, fingerprint, key_of, scope_of
from syncwatch.judge.gate import baseline_of, judge
from syncwatch.model.report import NO_LINE, Process, RecordingSummary, Report, Site, Variant
from syncwatch.model.session import RecordedBy
from syncwatch.model.verdict import Budgets, KnownSite, Level, Outcome, Policy, Reason, Rule, Severity
from syncwatch.model.window import RunWindow
from tests.helpers.judging import TODAY, report, said, site, verdict_on

FAIL, WARN, NOTE = Severity.FAIL, Severity.WARN, Severity.NOTE


def baseline(*sites: Site) -> tuple[KnownSite, ...]:
    return baseline_of(report(*sites), Policy(), (), TODAY)


def test_a_known_site_passes_and_moving_or_reformatting_it_changes_nothing() -> None:
    known = baseline(site("x.item()", line=7))
    for moved in (site("x.item()", line=17), site("x.item( )  # later", line=7)):
        verdict = verdict_on(moved, baseline=known)
        assert (verdict.outcome, said(verdict)) == (Outcome.CLEAN, [(NOTE, Reason.KNOWN, moved.line)])


@pytest.mark.parametrize(
    "new",
    [
        site("y.item()"),
        site(code="SW102"),
        site(file="app/other.py"),
        site(function="other"),
        site("x.item(); x.item()"),
    ],
)
def test_any_other_site_is_new(new: Site) -> None:
    verdict = verdict_on(site(), new, baseline=baseline(site()))
    assert verdict.outcome is Outcome.OVER
    assert said(verdict)[0] == (FAIL, Reason.NEW_SITE, new.line)


def test_an_edited_line_is_new_and_its_old_form_is_gone() -> None:
    verdict = verdict_on(site("y.item()"), baseline=baseline(site("x.item()")))
    assert [(severity, reason) for severity, reason, _ in said(verdict)] == [
        (FAIL, Reason.NEW_SITE),
        (WARN, Reason.GONE),
    ]


def test_equal_lines_are_counted_and_the_last_stands_for_the_new_one() -> None:
    known = baseline(site(line=7), site(line=9))
    assert verdict_on(site(line=17), site(line=19), baseline=known).outcome is Outcome.CLEAN
    verdict = verdict_on(site(line=8), site(line=7), site(line=9), baseline=known)
    assert said(verdict)[0] == (FAIL, Reason.RISEN, 9)
    assert (verdict.rulings[0].measured, verdict.rulings[0].limit) == (3, 2)


def test_more_calls_of_the_same_line_are_a_rise() -> None:
    known = baseline(site(calls=7 / 3))
    assert verdict_on(site(calls=2.3333333333), baseline=known).outcome is Outcome.CLEAN
    verdict = verdict_on(site(calls=8 / 3), baseline=known)
    assert said(verdict) == [(FAIL, Reason.RISEN, 7)]
    assert "calls a step, the baseline knows 2.33333" in verdict.reasons[0]


@pytest.mark.parametrize("left", [(), (site(calls=1),)])
def test_what_is_gone_asks_to_be_removed_and_fails_when_strict(left: tuple[Site, ...]) -> None:
    known = baseline(site(calls=2))
    relaxed = verdict_on(*left, baseline=known)
    strict = verdict_on(*left, baseline=known, policy=Policy(strict=True))
    assert (relaxed.outcome, strict.outcome) == (Outcome.CLEAN, Outcome.OVER)
    (gone,) = [ruling for ruling in relaxed.rulings if ruling.reason is Reason.GONE]
    assert "--update-baseline" in gone.message and gone.severity is WARN


def test_part_of_a_run_says_nothing_about_what_is_gone() -> None:
    partial = replace(report(), complete=False)
    verdict = judge(partial, Policy(), baseline=baseline(site()), today=TODAY)
    assert [ruling.reason for ruling in verdict.rulings] == [Reason.UNMEASURED]


def test_a_window_of_a_run_says_nothing_about_what_is_gone() -> None:
    windowed = replace(report(), window=RunWindow(0, 1, 2, 3))
    verdict = judge(windowed, Policy(strict=True), baseline=baseline(site()), today=TODAY)
    assert (verdict.outcome, verdict.rulings) == (Outcome.CLEAN, ())


def test_what_a_rule_or_an_allow_lets_pass_is_not_written() -> None:
    policy = Policy(causes=(Rule("SW3", Level.LOG),))
    entries = baseline_of(report(site(), site(code="SW301"), site(allowed="why", line=3)), policy, (), TODAY)
    assert [entry.key.code for entry in entries] == ["SW101"]
    assert entries[0].sites == 1


def test_entries_of_another_target_or_variant_are_not_ours() -> None:
    (entry,) = baseline(site())
    for other in (replace(entry, target="serve.py"), replace(entry, variant="fast")):
        assert said(verdict_on(site(), baseline=(other,))) == [(FAIL, Reason.NEW_SITE, 7)]


def test_of_two_entries_that_a_merge_left_the_larger_counts() -> None:
    (entry,) = baseline(site())
    both = (entry, replace(entry, sites=2, calls_per_step=2.0))
    assert verdict_on(site(line=1), site(line=2), baseline=both).outcome is Outcome.CLEAN


def test_a_budget_holds_for_known_sites_too() -> None:
    policy = Policy(budgets=Budgets(syncs=1))
    verdict = verdict_on(site(calls=2), baseline=baseline(site(calls=2)), policy=policy)
    assert [ruling.reason for ruling in verdict.rulings] == [Reason.OVER_BUDGET, Reason.KNOWN]


def test_one_target_has_one_name() -> None:
    assert [scope_of(each) for each in ("./a/../train.py", "train.py", "/home/me/train.py")] == ["train.py"] * 3


def test_a_fingerprint_needs_no_line_number() -> None:
    first, moved, other = (fingerprint(key_of(each)) for each in (site(line=1), site(line=2), site("y.item()")))
    assert (first == moved, first == other, len(first)) == (True, False, 32)


def test_a_name_that_is_no_unicode_is_known_again() -> None:
    odd = site(file="app/\udce4.py", function="f\udce4")
    assert verdict_on(odd, baseline=entries_of("train.py", "naive", [odd])).outcome is Outcome.CLEAN


def lineless(api: str = "cudaStreamSynchronize", inside: str | None = "build metadata") -> Site:
    """Return a wait of a trace without Python stacks."""
    return replace(site("", code="SW104", file=NO_LINE, line=0, function=""), api=api, range=inside)


@pytest.mark.parametrize("new", [lineless("cudaEventSynchronize"), lineless(inside="layer #"), lineless(inside=None)])
def test_a_wait_without_a_line_is_known_by_its_call_and_range(new: Site) -> None:
    known = baseline(lineless())
    assert verdict_on(lineless(), baseline=known).outcome is Outcome.CLEAN
    assert fingerprint(key_of(new)) != fingerprint(key_of(lineless()))
    verdict = verdict_on(lineless(), new, baseline=known)
    assert said(verdict)[0] == (FAIL, Reason.NEW_SITE, None)
    assert new.waiter in verdict.rulings[0].message and verdict.rulings[0].file is None


def test_a_wait_without_a_line_that_is_gone_is_named() -> None:
    verdict = verdict_on(baseline=baseline(lineless()))
    assert said(verdict)[0][1] is Reason.GONE
    assert 'SW104 (no Python line: cudaStreamSynchronize in range "build metadata")' in verdict.rulings[0].message


def test_the_place_of_a_wait_known_by_its_function_says_so() -> None:
    verdict = verdict_on(replace(site("", line=4), exact_line=False))
    assert verdict.rulings[0].message.startswith("SW101 in step (defined at app/train.py:4): ")


def processes(*named: str, without: str = "", kind: type[RecordingSummary] = Process) -> Report:
    """Return what a trace of these processes shows; the one called `without` does not wait."""
    (variant,) = report(site()).variants
    quiet = replace(variant, sites=(), per_step=replace(variant.per_step, syncs=0.0))
    known = (replace(quiet if name == without else variant, name=name) for name in named)
    parts = tuple(kind(**{each.name: getattr(one, each.name) for each in fields(RecordingSummary)}) for one in known)
    return replace(report(site()), variants=parts, recorder=RecordedBy.NSYS)


def test_every_process_of_a_trace_is_judged() -> None:
    verdict = judge(processes("process 7", "process 8", without="process 8"), Policy(), today=TODAY)
    assert (verdict.outcome, verdict.variants) == (Outcome.OVER, ("process 7", "process 8"))
    ours = processes("naive", "precomputed", without="precomputed", kind=Variant)
    assert judge(ours, Policy(), today=TODAY).outcome is Outcome.CLEAN


def test_a_baseline_knows_a_process_under_another_number() -> None:
    known = baseline_of(processes("process 7"), Policy(), (), TODAY)
    verdict = judge(processes("process 4242"), Policy(), baseline=known, today=TODAY)
    assert (verdict.outcome, said(verdict)) == (Outcome.CLEAN, [(NOTE, Reason.KNOWN, 7)])


def test_of_processes_under_one_entry_none_is_gone_where_another_still_waits() -> None:
    both = processes("process 7", "process 8")
    known = baseline_of(both, Policy(), (), TODAY)
    assert [(entry.variant, entry.sites) for entry in known] == [("process", 1)]
    verdict = judge(processes("process 1", "process 2", without="process 2"), Policy(), baseline=known, today=TODAY)
    assert (verdict.outcome, said(verdict)) == (Outcome.CLEAN, [(NOTE, Reason.KNOWN, 7)])


def test_ranks_keep_their_own_entries() -> None:
    known = baseline_of(processes("rank 0", "rank 1", without="rank 1"), Policy(), (), TODAY)
    verdict = judge(processes("rank 0", "rank 1"), Policy(), baseline=known, today=TODAY)
    assert next((each.variant, each.reason) for each in verdict.rulings) == ("rank 1", Reason.NEW_SITE)
