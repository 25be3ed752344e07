"""Step times of two variants: their ratio, its interval, and when neither is stated."""

from __future__ import annotations

import numpy as np
import pytest

from syncwatch.analyse.step_times import compare_steps, step_time
from syncwatch.model.session import Recording
from tests.helpers.fakes import MS, recording

Rounds = list[list[int]]


def noisy(median_ms: float, *, seed: int, rounds: int = 12, spread: float = 0.02) -> Rounds:
    random = np.random.default_rng(seed)
    return [[int(median_ms * MS * (1 + spread * random.standard_normal())) for _ in range(5)] for _ in range(rounds)]


def pair(old: Rounds, new: Rounds, *, modelled: bool = False) -> tuple[Recording, Recording]:
    return (
        recording("naive", rounds_ns=old, modelled=modelled),
        recording("precomputed", rounds_ns=new, modelled=modelled),
    )


def test_a_step_time_is_the_median_with_its_interval() -> None:
    time = step_time(recording(rounds_ns=noisy(3.0, seed=1)))
    assert time is not None and time.ci95 is not None
    assert time.ci95[0] <= time.median <= time.ci95[1]
    assert time.median == pytest.approx(3.0, rel=0.02)


@pytest.mark.parametrize(
    ("rounds", "modelled", "ci95"),
    [
        pytest.param([[3 * MS]], False, None, id="a-single-step"),
        pytest.param([[3 * MS, 3 * MS], [3 * MS]], False, (3.0, 3.0), id="identical-steps"),
        pytest.param([[3 * MS, 4 * MS]], True, None, id="modelled"),
    ],
)
def test_an_interval_is_given_only_where_it_means_something(
    rounds: Rounds, modelled: bool, ci95: tuple[float, float] | None
) -> None:
    time = step_time(recording(rounds_ns=rounds, modelled=modelled))
    assert time is not None
    assert time.ci95 == ci95


def test_no_rounds_are_no_step_time() -> None:
    assert step_time(recording()) is None
    assert compare_steps(recording(), recording(), True).verdict == "times not measured"


def test_a_faster_candidate_has_a_ratio_above_one() -> None:
    found = compare_steps(*pair(noisy(4.0, seed=1), noisy(3.0, seed=2)), True)
    assert found.verdict == "faster"
    assert found.step_time_ratio == pytest.approx(4 / 3, rel=0.02)
    assert found.ci95 is not None and found.ci95[0] > 1


def test_a_slower_candidate_says_so() -> None:
    found = compare_steps(*pair(noisy(3.0, seed=1), noisy(4.0, seed=2)), True)
    assert found.verdict == "slower"


def test_an_interval_that_holds_one_shows_no_difference() -> None:
    found = compare_steps(*pair(noisy(3.0, seed=1), noisy(3.0, seed=2)), True)
    assert found.verdict == "no difference shown"
    assert found.ci95 is not None and found.ci95[0] <= 1 <= found.ci95[1]


def test_rounds_are_resampled_as_pairs() -> None:
    # GIVEN clocks that drift by half over the run, the same for both halves of a round
    drift = [1 + index / 20 for index in range(12)]
    old = [[int(4.0 * MS * factor)] * 3 for factor in drift]
    new = [[int(3.9 * MS * factor)] * 3 for factor in drift]

    # THEN the drift cancels, and two and a half percent are seen
    found = compare_steps(*pair(old, new), True)
    assert found.verdict == "faster"


def test_a_single_round_is_resampled_by_its_steps() -> None:
    found = compare_steps(*pair(noisy(4.0, seed=1, rounds=1), noisy(3.0, seed=2, rounds=1)), True)
    assert found.verdict == "faster"
    assert found.ci95 is not None


def test_a_single_step_each_is_too_few() -> None:
    found = compare_steps(*pair([[4 * MS]], [[3 * MS]]), True)
    assert (found.verdict, found.ci95) == ("too few steps to tell", None)
    assert found.step_time_ratio == pytest.approx(4 / 3)


def test_a_ratio_lies_in_its_interval_where_steps_have_two_lengths() -> None:
    """Three rounds have two short steps of five, two have only short ones; the median of all steps is a short one."""
    old = [[4 * MS, 4 * MS + each, 9 * MS, 9 * MS, 9 * MS] for each in (1, 2, 3)] + [[4 * MS] * 12] * 2
    new = [[4 * MS + each] * 5 for each in (1, 2, 3, 4, 5)]
    found, (before, after) = compare_steps(*pair(old, new), True), pair(old, new)
    times = step_time(before), step_time(after)

    assert found.ci95 is not None and found.step_time_ratio is not None
    assert found.ci95[0] <= found.step_time_ratio <= found.ci95[1]
    assert times[0] is not None and times[1] is not None
    assert found.step_time_ratio == times[0].median / times[1].median


def test_identical_times_have_the_point_for_an_interval() -> None:
    found = compare_steps(*pair([[4 * MS]] * 3, [[2 * MS]] * 3), True)
    assert (found.step_time_ratio, found.ci95, found.verdict) == (2.0, (2.0, 2.0), "faster")


@pytest.mark.parametrize(
    ("old", "new", "verdict"),
    [(4, 3, "faster (modelled)"), (3, 4, "slower (modelled)"), (3, 3, "no difference (modelled)")],
)
def test_modelled_times_have_a_ratio_and_no_interval(old: int, new: int, verdict: str) -> None:
    found = compare_steps(*pair([[old * MS] * 3], [[new * MS] * 3], modelled=True), True)
    assert (found.verdict, found.ci95, found.modelled) == (verdict, None, True)
    assert found.step_time_ratio == old / new


def test_outputs_that_differ_forbid_a_ratio() -> None:
    found = compare_steps(*pair(noisy(4.0, seed=1), noisy(3.0, seed=2)), False)
    assert (found.step_time_ratio, found.ci95) == (None, None)
    assert found.verdict == "outputs differ: times not compared"


def test_a_modelled_time_is_never_divided_by_a_measured_one() -> None:
    (old, _), (_, new) = pair([[4 * MS]], [[3 * MS]], modelled=True), pair([[4 * MS]], [[3 * MS]])
    assert compare_steps(old, new, True).step_time_ratio is None


def test_the_interval_is_the_same_every_time() -> None:
    rounds = pair(noisy(4.0, seed=1), noisy(3.0, seed=2))
    assert compare_steps(*rounds, True) == compare_steps(*rounds, True)
