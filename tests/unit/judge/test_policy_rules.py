"""A rule that can match nothing in a run is reported, and one that nobody could judge ends in "could not measure"."""

from __future__ import annotations

from dataclasses import replace

import pytest

from syncwatch.judge.gate import judge
from syncwatch.judge.policy import RunFiles
from syncwatch.model.session import DeviceKind
from syncwatch.model.verdict import Level, Outcome, Policy, Reason, Rule, Severity, Verdict
from tests.helpers.judging import TODAY, report, site

ALLOW, LOG, DISALLOW = Level.ALLOW, Level.LOG, Level.DISALLOW
FILES = RunFiles(("app/train.py", "app/model.py"), ("app/train.py", "benchmarks/bench.py"))


def verdict(
    policy: Policy,
    *,
    entered: tuple[str, ...] = (),
    files: RunFiles | None = FILES,
    device: DeviceKind = DeviceKind.CUDA,
    allocator_calls: float | None = 0.0,
) -> Verdict:
    """Return the verdict on a run in which nothing waited."""
    quiet = report(device=device, per_step={"allocator_calls": allocator_calls})
    (variant,) = quiet.variants
    return judge(replace(quiet, variants=(replace(variant, ranges=entered),)), policy, files=files, today=TODAY)


@pytest.mark.parametrize("level", list(Level))
@pytest.mark.parametrize("strict", [False, True])
def test_a_range_that_was_never_entered_is_said(level: Level, strict: bool) -> None:
    found = verdict(Policy(ranges=(Rule("decod *", level),), strict=strict), entered=("decode 3", "syncwatch.step 0"))
    (ruling,) = found.rulings
    assert ruling.reason is Reason.UNMATCHED_RULE
    assert ruling.severity is (Severity.FAIL if strict else Severity.WARN)
    assert found.outcome is (Outcome.OVER if strict else Outcome.CLEAN)
    assert 'ranges."decod *"' in ruling.message
    assert '"decode 3"' in ruling.message


def test_a_range_that_was_entered_and_in_which_nothing_waited_is_as_it_should_be() -> None:
    assert verdict(Policy(ranges=(Rule("decode *", DISALLOW),)), entered=("decode 3",)).rulings == ()


@pytest.mark.parametrize(
    ("pattern", "level", "said"),
    [
        ("app/", DISALLOW, False),
        ("ap/", DISALLOW, True),
        ("ap/", ALLOW, True),
        ("benchmarks/", ALLOW, False),
        ("benchmarks/", DISALLOW, True),
    ],
)
def test_a_path_that_no_file_of_the_run_has_is_said(pattern: str, level: Level, said: bool) -> None:
    policy = Policy(paths=(Rule(pattern, level),))
    assert [ruling.reason for ruling in verdict(policy).rulings] == ([Reason.UNMATCHED_RULE] if said else [])


def test_where_the_files_are_not_known_no_path_is_said_to_match_none() -> None:
    assert verdict(Policy(paths=(Rule("ap/", DISALLOW),)), files=None).rulings == ()


@pytest.mark.parametrize("code", ["SW6", "SW601"])
def test_allocator_calls_that_nobody_saw_are_not_judged(code: str) -> None:
    policy = Policy(causes=(Rule(code, DISALLOW),))
    assert verdict(policy).outcome is Outcome.CLEAN
    unseen = verdict(policy, allocator_calls=None)
    assert unseen.outcome is Outcome.UNMEASURED
    assert f'causes."{code}"' in unseen.reasons[0]
    logged = verdict(Policy(causes=(Rule(code, LOG),)), allocator_calls=None)
    assert [(each.severity, each.reason) for each in logged.rulings] == [(Severity.WARN, Reason.NOT_JUDGED)]
    assert verdict(Policy(causes=(Rule(code, ALLOW),)), allocator_calls=None).rulings == ()


def test_waits_of_libraries_are_not_judged_on_the_virtual_device() -> None:
    policy = Policy(causes=(Rule("SW502", DISALLOW),))
    assert verdict(policy, device=DeviceKind.VIRTUAL).outcome is Outcome.UNMEASURED
    assert verdict(policy).outcome is Outcome.CLEAN


def test_a_cause_that_can_be_seen_and_did_not_wait_is_as_it_should_be() -> None:
    assert verdict(Policy(causes=(Rule("SW1", DISALLOW), Rule("SW", DISALLOW)))).rulings == ()


def test_a_line_in_two_nests_is_judged_by_the_stricter() -> None:
    policy = Policy(ranges=(Rule("sample", ALLOW),))
    both = replace(site(ranges=("decode", "sample")), nests=(("decode",), ("decode", "sample")))
    assert judge(report(both), policy, today=TODAY).outcome is Outcome.OVER
    assert judge(report(replace(both, nests=())), policy, today=TODAY).outcome is Outcome.CLEAN
