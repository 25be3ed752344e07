"""The one subscription to CUPTI: what each call tells, and who is refused. A fake stands for CUPTI."""

from __future__ import annotations

import time

import pytest
import torch

from syncwatch.errors import NotMeasuredError
from syncwatch.sense.cuda.driver_calls import DRIVER_CALLS, LINEAR_COPIES, MAY_BE_UNKNOWN, STARTS_WORK
from tests.helpers import fake_cupti
from tests.helpers.fake_cupti import FakeCupti, Watch, bare, begins, ends, program


def test_a_call_is_told_with_its_number_id_time_and_bytes(cupti: FakeCupti) -> None:
    watch = Watch()
    before = time.time_ns()
    cupti.play(program((fake_cupti.UPLOAD, 41, 12), (fake_cupti.STREAM, 42)))
    after = time.time_ns()
    watch.end()

    assert [(number, identity, size) for number, identity, _, _, size in watch.told] == [
        (fake_cupti.UPLOAD, 41, 12),
        (fake_cupti.STREAM, 42, 0),
    ]
    assert all(before <= begin < end <= after for _, _, begin, end, _ in watch.told)


def test_what_is_no_linear_copy_has_no_bytes(cupti: FakeCupti) -> None:
    """Where those of a linear copy are, the parameters of others have a pointer, or end before."""
    watch = Watch()
    cupti.play(program(*((number, number, 77) for number in DRIVER_CALLS)))
    watch.end()

    assert {number for number, _, _, _, size in watch.told if size == 77} == LINEAR_COPIES
    assert {size for number, _, _, _, size in watch.told if number not in LINEAR_COPIES} == {0}
    assert len(watch.told) == len(DRIVER_CALLS)


def test_calls_that_only_start_work_are_not_told(cupti: FakeCupti) -> None:
    watch = Watch()
    cupti.play(program(*((number, number) for number in STARTS_WORK)))

    assert watch.end().launches == len(STARTS_WORK)
    assert watch.told == []


def test_a_call_inside_another_has_its_own_begin(cupti: FakeCupti) -> None:
    watch = Watch()
    cupti.play(
        program(
            begins(fake_cupti.MALLOC, 1),
            (fake_cupti.STREAM, 2),
            ends(fake_cupti.MALLOC, 1),
        )
    )
    watch.end()

    (inner, _, began, ended, _), (outer, _, first, last, _) = watch.told
    assert (inner, outer) == (fake_cupti.STREAM, fake_cupti.MALLOC)
    assert first < began < ended < last


def test_a_call_whose_begin_was_not_seen_took_no_time(cupti: FakeCupti) -> None:
    watch = Watch()
    cupti.play(program(ends(fake_cupti.STREAM, 1)))
    watch.end()

    ((_, _, begin, end, _),) = watch.told
    assert begin == end


def test_a_call_that_never_ended_takes_no_time_from_the_next(cupti: FakeCupti) -> None:
    watch = Watch()
    cupti.play(program(*(begins(fake_cupti.STREAM, number) for number in range(1, 40))))
    cupti.play(program((fake_cupti.STREAM, 50), (fake_cupti.STREAM, 51)))
    watch.end()

    (_, _, _, first, _), (_, _, begin, end, _) = watch.told
    assert first < begin < end


def test_a_call_without_parameters_has_no_bytes(cupti: FakeCupti) -> None:
    watch = Watch()
    cupti.play(program(bare(fake_cupti.READ, 1)))
    watch.end()

    assert [size for *_, size in watch.told] == [0]


def test_what_comes_after_the_end_changes_nothing(cupti: FakeCupti) -> None:
    watch = Watch()
    watch.end()
    cupti.play(program((fake_cupti.STREAM, 1)))
    cupti.kernel(1)
    cupti.deliver()

    assert watch.told == []
    assert not cupti.is_subscribed and cupti.records_asked == 0


def test_without_times_no_launch_is_looked_at_and_nothing_recorded(cupti: FakeCupti) -> None:
    watch = Watch(records=False)
    cupti.play(program((fake_cupti.LAUNCH, 1), (fake_cupti.STREAM, 2)))
    asked, told = cupti.records_asked, int(cupti.library.fake_told())
    watch.cupti.close()

    assert (asked, told) == (0, len(DRIVER_CALLS))
    assert [identity for _, identity, *_ in watch.told] == [2]


def test_a_subscriber_of_others_is_said(cupti: FakeCupti) -> None:
    cupti.give_to_another()
    with pytest.raises(NotMeasuredError, match=r"has a subscriber already: torch\.profiler, nsys"):
        Watch()
    cupti.give_to_another(False)

    Watch().end()


@pytest.mark.parametrize("number", sorted(MAY_BE_UNKNOWN))
def test_a_call_that_came_with_a_newer_cuda_may_be_unknown(cupti: FakeCupti, number: int) -> None:
    cupti.refuse(number)
    watch = Watch()
    cupti.play(program((fake_cupti.STREAM, 1)))
    watch.end()

    assert len(watch.told) == 1


@pytest.mark.parametrize("number", [fake_cupti.STREAM, fake_cupti.LAUNCH, fake_cupti.END_CAPTURE])
def test_a_call_that_cupti_does_not_tell_of_is_no_silence(cupti: FakeCupti, number: int) -> None:
    cupti.refuse(number)

    with pytest.raises(NotMeasuredError, match=f"does not tell of the driver call with callback id {number}"):
        Watch()
    assert not cupti.is_subscribed


def test_a_torch_without_cuda_has_none(cupti: FakeCupti, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", None)

    with pytest.raises(NotMeasuredError, match="built without CUDA"):
        Watch()
