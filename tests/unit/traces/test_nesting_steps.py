"""Which ranges are steps, and which step holds a moment."""

from __future__ import annotations

import pytest

from syncwatch.errors import UsageError
from syncwatch.model.events import RangeEvent, Step
from syncwatch.traces.nesting import StepClock, steps_of


def named(name: str, start: int, end: int, thread: int = 0) -> RangeEvent:
    return RangeEvent(thread, name, start, end)


def test_our_steps_go_before_those_of_torch() -> None:
    ranges = [named("ProfilerStep#1", 0, 100), named("syncwatch.step 1", 60, 90), named("syncwatch.step 0", 10, 50)]
    assert steps_of(ranges, None) == (Step(0, False, 10, 50), Step(1, False, 60, 90))
    assert steps_of(ranges[:1], None) == (Step(0, False, 0, 100),)
    assert steps_of([named("decode", 0, 9)], None) == ()


def test_of_ranges_in_one_another_the_outermost_counts() -> None:
    ranges = [
        named("step a", 10, 20),
        named("step b", 0, 100),
        named("step c", 30, 40, thread=1),
        named("step", 100, 120),
    ]
    assert steps_of(ranges, "step*") == (Step(0, False, 0, 100), Step(1, False, 100, 120))


def test_a_name_with_the_signs_of_a_pattern_is_taken_as_it_is() -> None:
    ranges = [named("step[0]", 0, 10), named("step0", 20, 30)]
    assert steps_of(ranges, "step[0]") == (Step(0, False, 0, 10), Step(1, False, 20, 30))


def test_a_name_that_is_not_there_is_refused_with_those_that_are_near() -> None:
    with pytest.raises(UsageError, match="'decode'"):
        steps_of([named("decode", 0, 1), named("prefill", 0, 1)], "decod")
    with pytest.raises(UsageError, match="no ranges at all"):
        steps_of([], "decode")


def test_the_clock_knows_the_steps_and_the_time_between() -> None:
    clock = StepClock([Step(4, False, 100, 200), Step(2, False, 0, 50)])
    assert [clock.at(moment) for moment in (-1, 0, 50, 51, 100, 200, 201)] == [None, 2, 2, None, 4, 4, None]


def test_steps_inside_a_range_of_a_name() -> None:
    ranges = [
        *(named("naive", 0, 100), named("step 0", 10, 20), named("step 1", 30, 40)),
        *(named("fast", 200, 300), named("step 0", 210, 220), named("step 1", 90, 110)),
    ]
    assert steps_of(ranges, "naive/step *") == (Step(0, False, 10, 20), Step(1, False, 30, 40))
    assert steps_of(ranges, "fast/step 0") == (Step(0, False, 210, 220),)
    with pytest.raises(UsageError, match="'slow/step"):
        steps_of(ranges, "slow/step *")
    assert steps_of([*ranges, named("a/b", 400, 500)], "a/b") == (Step(0, False, 400, 500),)
