from __future__ import annotations

import pytest

from syncwatch.model.events import SyncKind
from syncwatch.model.finding import Report
from syncwatch.model.session import Coverage
from syncwatch.model.verdict import Outcome, Policy
from syncwatch.pipeline import judge_of, report_of
from tests.fakes import Stacks, frame, gdn_session, recording, session, steps, sync


def one_sync(**options: object) -> Report:
    return report_of(session(recording(syncs=[sync()]), **options))  # type: ignore[arg-type]


def test_the_candidate_is_judged_unless_told_otherwise() -> None:
    report = report_of(gdn_session())
    assert judge_of(report, Policy()).outcome is Outcome.CLEAN
    assert judge_of(report, Policy(variants=("naive",))).outcome is Outcome.OVER


def test_an_implicit_sync_is_over_and_named() -> None:
    verdict = judge_of(one_sync(), Policy())
    assert verdict.outcome is Outcome.OVER
    assert verdict.reasons == ("naive: 1 implicit synchronization a step, 0 allowed.",)
    assert [site.code for site in verdict.offenders] == ["SW101"]


def test_what_the_policy_allows_is_clean() -> None:
    assert judge_of(one_sync(), Policy(max_syncs_per_step=1)).outcome is Outcome.CLEAN


def test_a_wait_that_was_asked_for_is_not_judged() -> None:
    stacks = Stacks()
    line = stacks.add(frame("torch.cuda.synchronize()", "torch.cuda.synchronize()"))
    known = recording(syncs=[sync(stack=line, kind=SyncKind.DEVICE)], stacks=stacks)
    assert judge_of(report_of(session(known)), Policy()).outcome is Outcome.CLEAN


def test_offenders_come_worst_first() -> None:
    stacks = Stacks()
    small, large = stacks.add(frame(line=1)), stacks.add(frame(line=2))
    known = recording(
        syncs=[sync(stack=small, at=(0, 10)), sync(stack=large, at=(20, 90))], kernels=None, stacks=stacks
    )
    verdict = judge_of(report_of(session(known, known)), Policy(variants=("naive",)))
    assert [site.line for site in verdict.offenders] == [2, 1]


DEAF = Coverage(("debug_mode",), (), None, 0)


@pytest.mark.parametrize(
    ("report", "reason"),
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
            report_of(session(recording(coverage=DEAF))),
            "naive: no synchronization was seen, and no sensor ran that would count them.",
            id="silence",
        ),
    ],
)
def test_what_could_not_be_measured_is_never_clean(report: Report, reason: str) -> None:
    verdict = judge_of(report, Policy(max_syncs_per_step=100))
    assert verdict.outcome is Outcome.UNMEASURED
    assert verdict.reasons == (reason,)


def test_an_unknown_variant_is_not_clean_and_the_known_ones_are_named() -> None:
    verdict = judge_of(report_of(gdn_session()), Policy(variants=("fast",)))
    assert verdict.outcome is Outcome.UNMEASURED
    assert verdict.reasons == ("There is no variant 'fast'; the run has naive, precomputed.",)
