"""The upper bound: exact on prefill rows, never below the truth, never further above it than what is in flight."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from syncwatch_scenarios.seq_lens.serving_steps import ComputedMirror
from syncwatch_scenarios.seq_lens.traffic import Traffic

from tests.helpers.seq_lens_truth import SMALL, scheduler_of, steps, violations

STEPS = 1000


@st.composite
def traffics(draw: st.DrawFn, most_accepted: int = 1000) -> Traffic:
    drafts = draw(st.integers(1, 4))
    return Traffic(
        requests=draw(st.integers(1, 6)),
        tokens=draw(st.integers(1 + drafts, 64)),
        drafts=drafts,
        acceptance=draw(st.integers(0, most_accepted)),
        prompt=(1, draw(st.integers(1, 120))),
        output=(1, draw(st.integers(1, 60))),
        arrivals=draw(st.integers(1, 3)),
        lead_in=0,
        steps_in_flight=draw(st.integers(0, 3)),
    )


def broken_rules(traffic: Traffic, seed: int, *, refreshed: bool) -> list[str]:
    scheduler = scheduler_of(traffic, seed)
    mirror = ComputedMirror(traffic.requests, refreshed=refreshed)
    in_flight = traffic.drafts * traffic.steps_in_flight
    broken: list[str] = []
    for rows, truth, _ in steps(scheduler, STEPS):
        bound = mirror.upper_bound(rows, len(rows)).numpy()
        prefill = np.array([row.is_prefill for row in rows], dtype=bool)
        broken += violations(bound, truth, prefill, in_flight)
    return broken


@settings(max_examples=15, deadline=None, derandomize=True)
@given(traffic=traffics(), seed=st.integers(0, 2**16))
def test_a_refreshed_bound_keeps_every_rule_for_a_thousand_steps(traffic: Traffic, seed: int) -> None:
    assert broken_rules(traffic, seed, refreshed=True) == []


@settings(max_examples=8, deadline=None, derandomize=True)
@given(traffic=traffics(most_accepted=600), seed=st.integers(0, 2**16))
def test_the_bound_that_is_only_added_to_drifts_away_from_the_truth(traffic: Traffic, seed: int) -> None:
    # Long outputs, so that a request rejects more than what can be in flight.
    long = Traffic(**{**{name: getattr(traffic, name) for name in Traffic.__slots__}, "output": (60, 90)})

    broken = broken_rules(long, seed, refreshed=False)

    assert broken
    assert {rule.split(" above")[0] for rule in broken} == {
        f"the bound is more than {long.drafts * long.steps_in_flight}"
    }


def test_a_drifting_bound_is_above_the_truth_by_all_that_was_ever_rejected() -> None:
    mirror = ComputedMirror(SMALL.requests, refreshed=False)
    most = 0
    for rows, truth, known in steps(scheduler_of(SMALL, 3), 200):
        over = mirror.upper_bound(rows, len(rows)).numpy() - truth
        assert over.tolist() == [sum(known.rejected[row.slot]) for row in rows]
        most = max(most, *over.tolist())
    assert most > 2 * SMALL.drafts * SMALL.steps_in_flight


def test_the_bound_without_what_the_steps_in_flight_rejected_is_the_truth() -> None:
    mirror = ComputedMirror(SMALL.requests, refreshed=True)
    corrected = 0
    for rows, truth, known in steps(scheduler_of(SMALL, 4), 200):
        bound = mirror.upper_bound(rows, len(rows))
        # Every decode row also ran in each of the last steps, as the token limit holds none of them back here.
        rejected = torch.tensor([sum(known.rejected[row.slot][-SMALL.steps_in_flight :]) for row in rows])
        assert (bound - rejected).tolist() == truth.tolist()
        corrected += int(rejected.sum())
    assert corrected > 0


def test_padding_is_bounded_by_zero() -> None:
    mirror = ComputedMirror(SMALL.requests, refreshed=True)
    rows, truth, _ = next(steps(scheduler_of(SMALL, 0), 1))

    bound = mirror.upper_bound(rows, 8)

    assert bound.dtype is torch.int32
    assert bound.tolist() == truth.tolist() + [0] * (8 - len(rows))


@pytest.mark.parametrize(
    ("over", "prefill", "broken"),
    [
        ([0, 0], [True, False], []),
        ([0, 2], [True, False], []),
        ([1, 0], [True, False], ["the bound is not exact on a prefill row: row 0"]),
        ([0, 3], [True, False], ["the bound is more than 2 above the truth: row 1"]),
        ([0, -1], [True, False], ["the bound is below the truth: row 1"]),
    ],
)
def test_each_rule_is_told_by_its_row(over: list[int], prefill: list[bool], broken: list[str]) -> None:
    truth = np.array([40, 50], dtype=np.int32)

    assert violations(truth + np.array(over, dtype=np.int32), truth, np.array(prefill), 2) == broken
