"""Where CUPTI is taken, wrong or given away, torch's hooks give the lines, and a note says what is missing."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
import torch

from syncwatch.errors import NotMeasuredError
from syncwatch.sense import active
from syncwatch.sense.cuda import one_run
from syncwatch.sense.cuda.hooks import BLIND_TO
from tests.helpers.cuda_watch import codes, torch_warns, watching
from tests.helpers.fake_cupti import (
    LAUNCH,
    READ,
    STREAM,
    FakeCupti,
    fake_debug_mode,
    program,
)


@pytest.fixture(autouse=True)
def modes(cupti: FakeCupti, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sync debug modes that were set, 0 first."""
    return fake_debug_mode(monkeypatch)


def test_where_cupti_is_taken_torchs_hooks_give_the_lines_and_a_note_says_so(
    cupti: FakeCupti, modes: list[int]
) -> None:
    cupti.give_to_another()
    with watching() as run:
        during = modes[-1]
        torch_warns()
    recording = run.recording("one")

    assert (during, modes[-1]) == (1, 0)
    assert codes(recording) == ["warnings.warn(MESSAGE, UserWarning, stacklevel=1)"]
    assert [each.end_ns for each in recording.syncs] == [None]
    (note,) = recording.notes
    assert "no idle times: CUPTI has a subscriber already" in note
    assert (recording.kernels, recording.copies, recording.coverage.joins) == (None, None, None)
    assert (recording.coverage.warned, recording.coverage.warned_unseen) == (None, None)
    assert recording.coverage.blind_to == BLIND_TO
    assert recording.coverage.sensors == ("debug_mode", "explicit_waits", "copies")


def test_where_cupti_does_not_know_a_call_torchs_hooks_take_over(cupti: FakeCupti) -> None:
    cupti.refuse(STREAM)
    with watching() as run:
        subscribed = cupti.is_subscribed
        torch_warns()
    recording = run.recording("one")

    assert not subscribed
    assert "callback id 126" in recording.notes[0]
    assert len(recording.syncs) == 1


def test_a_watch_inside_another_listens_by_torchs_hooks_and_takes_nothing_from_the_outer_one(
    cupti: FakeCupti, modes: list[int]
) -> None:
    with watching() as outer:
        with watching() as inner:
            cupti.play(program((STREAM, 1)))
            torch_warns()
        between = (cupti.is_subscribed, active.subscribed())
        cupti.play(program((STREAM, 2)))
        modes_between = modes[-1]

    assert between == (True, True)
    assert "the watch around this one has CUPTI" in inner.recording("inner").notes[0]
    assert len(inner.recording("inner").syncs) == 1
    assert len(outer.recording("outer").syncs) == 2
    assert (modes_between, modes[-1]) == (1, 0)


def wrong() -> None:
    raise NotMeasuredError("the records are laid out another way")


def test_layouts_that_are_wrong_at_the_begin_leave_the_watch_to_torchs_hooks(
    cupti: FakeCupti, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_run, "devices_in_use", lambda: (0,))
    monkeypatch.setattr(one_run, "check", wrong)
    with watching() as run:
        torch_warns()

    recording = run.recording("one")
    assert "the records are laid out another way" in recording.notes[0]
    assert (recording.kernels, len(recording.syncs)) == (None, 1)


def test_layouts_that_turn_out_wrong_at_the_end_leave_the_lines(
    cupti: FakeCupti, monkeypatch: pytest.MonkeyPatch
) -> None:
    with watching() as run:
        cupti.play(program((STREAM, 1)))
        monkeypatch.setattr(one_run, "devices_in_use", lambda: (0,))
        monkeypatch.setattr(one_run, "check", wrong)

    recording = run.recording("one")
    assert recording.notes == ("There are lines, but no idle times: the records are laid out another way",)
    assert (recording.kernels, recording.coverage.joins, len(recording.syncs)) == (None, None, 1)
    assert recording.coverage.sensors == ("runtime_calls", "debug_mode")


def test_a_profiler_of_the_program_gets_cupti_and_the_hooks_go_on(cupti: FakeCupti, modes: list[int]) -> None:
    with watching() as run:
        cupti.play(program((LAUNCH, 1), (STREAM, 2)))
        cupti.kernel(1)
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]):
            during = (cupti.is_subscribed, active.subscribed(), modes[-1])
            torch_warns()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]):
            torch_warns()
    recording = run.recording("one")

    assert during == (False, False, 1)
    assert [each.seen_by for each in recording.syncs] == [("runtime_calls",), ("debug_mode",), ("debug_mode",)]
    assert all(code is not None for code in codes(recording))
    (note,) = recording.notes
    assert "The program started torch.profiler" in note and "there are no idle times" in note
    assert recording.coverage.blind_to == BLIND_TO
    assert modes[-1] == 0


def test_of_a_run_with_a_profiler_no_half_of_the_work_is_taken_for_all(
    cupti: FakeCupti, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[bool] = []
    monkeypatch.setattr(one_run, "devices_in_use", lambda: (0,))
    monkeypatch.setattr(one_run, "check", lambda: checked.append(True))
    with ExitStack() as late, watching() as run:
        cupti.play(program((LAUNCH, 1), (READ, 2, 4), (STREAM, 3)))
        cupti.kernel(1)
        cupti.read(2, 4)
        late.enter_context(torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]))
    recording = run.recording("one")

    assert (recording.kernels, recording.copies, recording.coverage.joins) == (None, None, None)
    assert len(recording.syncs) == 1
    # A check at the end would take CUPTI from the profiler.
    assert checked == [True]
