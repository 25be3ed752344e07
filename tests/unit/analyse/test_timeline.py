"""The measured steps of a recording, and the time in which the GPU was busy in them."""

from __future__ import annotations

import pytest

from syncwatch.analyse.timeline import end_of, split_early, timeline_of, union, window_of
from tests.helpers.fakes import copy, kernel, recording, steps, sync


def test_only_steps_after_the_warm_up_count() -> None:
    window = window_of(recording(steps=steps(5, warmup=2)))
    assert window.steps == 3
    assert [window.counts(index) for index in (0, 1, 2, 4)] == [False, False, True, True]
    assert not window.counts(None)


def test_a_run_without_marks_is_one_step() -> None:
    window = window_of(recording())
    assert window.steps == 1
    assert window.counts(None)


def test_a_run_that_ended_in_its_warm_up_has_no_steps() -> None:
    assert window_of(recording(steps=steps(2, warmup=2))).steps == 0


@pytest.mark.parametrize(
    ("syncs", "expected"),
    [
        pytest.param([sync(0), sync(1), sync(2)], (1, 0), id="warm-up-steps"),
        pytest.param([sync(None), sync(1), sync(None)], (1, 1), id="outside-without-a-time"),
        pytest.param([sync(None, at=(5, 9)), sync(None, at=(250, 260))], (1, 1), id="outside-by-time"),
        pytest.param([], (0, 0), id="none"),
    ],
)
def test_uncounted_waits_are_told_apart(syncs: list[object], expected: tuple[int, int]) -> None:
    window = window_of(recording(steps=steps(3, warmup=1, each_ns=100)))
    assert split_early(syncs, window) == expected  # type: ignore[arg-type]


def test_spans_are_merged_and_empty_ones_dropped() -> None:
    assert union([(5, 9), (0, 3), (2, 4), (7, 7), (9, 10)]) == ((0, 4), (5, 10))


def test_busy_is_kernels_and_copies() -> None:
    known = recording(kernels=[kernel((0, 4))], copies=[copy(at=(3, 6)), copy()])
    assert timeline_of(known).gpus == {0: ((0, 6),)}
    assert timeline_of(recording(kernels=None)).gpus is None


def test_the_recording_ends_with_its_last_event() -> None:
    assert end_of(recording(steps=steps(1, each_ns=50), kernels=[kernel((0, 70))], syncs=[sync(at=(1, 60))])) == 70
    assert end_of(recording()) == 0
