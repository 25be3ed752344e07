"""A gain is what a step is shorter by: held against a machine of our own that runs the program without the wait."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncwatch.analyse import gains
from syncwatch.model.events import STEP_RANGE, Call, KernelEvent, RangeEvent
from syncwatch.model.report import RecordingSummary
from syncwatch.pipeline import analysed_recording
from tests.helpers.simulated import EventSync, Launch, Op, Read, Record, StreamWait, Sync, Work, run

US = 1_000
STEPS = 12


def said(program: list[list[Op]], watching: int = 0) -> RecordingSummary:
    known, _ = run(program, watching=watching)
    return analysed_recording(known).summary


def true_gain(program: list[list[Op]], *lines: int) -> float:
    """Return the microseconds that a step is shorter by without the waits of `lines`."""
    return (run(program)[1] - run(program, lines)[1]) / 1e3


def gain_of(summary: RecordingSummary, line: int) -> float:
    assert summary.replay is not None and summary.replay.unknown is None, summary.replay
    (found,) = (site.gain_us for site in summary.sites if site.line == line + 1)
    assert found is not None
    return found


HOST_BOUND: list[Op] = [Work(300 * US), Launch(20 * US), Read(1), Work(50 * US)]
GPU_BOUND: list[Op] = [Work(20 * US), Launch(500 * US), Launch(400 * US), Sync(1), Work(100 * US)]
EVEN: list[Op] = [Launch(200 * US), Launch(200 * US), Work(200 * US), Read(1), Work(200 * US)]
PROGRAMS: dict[str, list[list[Op]]] = {
    "host-bound": [HOST_BOUND] * STEPS,
    "GPU-bound": [GPU_BOUND] * STEPS,
    "even": [EVEN] * STEPS,
    "several lines": [[Launch(100 * US), Read(1), Work(30 * US), Launch(80 * US), Read(2), Work(60 * US)]] * STEPS,
    "pacing two steps behind": [
        [Work(3_000 * US), Launch(900 * US), Record(index), *([EventSync(index - 2, 1)] if index > 1 else [])]
        for index in range(STEPS)
    ],
    "a side stream": [
        [
            *(Launch(300 * US), Record(2 * index), StreamWait(2 * index, 20), Launch(50 * US, 20)),
            *(Record(2 * index + 1, 20), Work(20 * US), EventSync(2 * index + 1, 1), Work(100 * US)),
        ]
        for index in range(STEPS)
    ],
    "the whole device": [[Launch(300 * US), Launch(700 * US, 20), Work(50 * US), Sync(1, None)]] * STEPS,
}


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("watching", [0, 6 * US])
def test_a_gain_is_what_the_program_gains_without_the_wait(name: str, watching: int) -> None:
    program = PROGRAMS[name]

    summary = said(program, watching)

    for line in {op.line for step in program for op in step if isinstance(op, Read | Sync | EventSync)}:
        assert gain_of(summary, line) == pytest.approx(true_gain(program, line), abs=8, rel=0.02)


def test_a_wait_that_the_hosts_own_work_hides_gains_nothing() -> None:
    summary = said(PROGRAMS["pacing two steps behind"])

    (site,) = summary.sites
    assert site.gain_us == pytest.approx(0, abs=3)
    assert site.host_blocked_us is not None and site.host_blocked_us > 0


def test_two_waits_of_which_each_hides_the_other_gain_together() -> None:
    program: list[list[Op]] = [
        [Launch(400 * US), Sync(1), Sync(2), Work(300 * US)],
    ] * STEPS

    summary = said(program)

    alone = [gain_of(summary, line) for line in (1, 2)]
    together = true_gain(program, 1, 2)
    assert together > 200 and max(alone) < 10
    assert summary.per_step.gain_us == pytest.approx(together, abs=8)
    for site in summary.sites:
        assert site.gain_shared is not None
        assert site.gain_shared.others == 1
        assert site.gain_shared.gain_us == pytest.approx(together, abs=8)


def test_the_line_that_then_waits_is_named() -> None:
    program: list[list[Op]] = [[Launch(400 * US), Sync(1), Work(50 * US), Read(2), Work(300 * US)]] * STEPS

    first = next(site for site in said(program).sites if site.line == 2)

    assert first.moves_to is not None and first.moves_to.line == 3
    assert first.moves_us == pytest.approx(350, rel=0.1)


OPS = st.one_of(
    st.builds(Work, st.integers(1, 400).map(lambda us: us * US)),
    st.builds(Launch, st.integers(1, 400).map(lambda us: us * US), st.sampled_from([7, 20])),
    st.builds(Read, st.integers(1, 3), st.sampled_from([7, 20])),
    st.builds(Sync, st.integers(4, 6), st.sampled_from([7, 20, None])),
    st.builds(Record, st.integers(0, 3), st.sampled_from([7, 20])),
    st.builds(StreamWait, st.integers(0, 3), st.sampled_from([7, 20])),
    st.builds(EventSync, st.integers(0, 3), st.integers(7, 9)),
)
ANY = st.lists(OPS, min_size=2, max_size=12).filter(lambda ops: any(isinstance(op, Launch) for op in ops))


@settings(max_examples=400, deadline=None)
@given(ANY, st.sampled_from([0, 5 * US]))
def test_a_replay_with_all_waits_gives_the_recorded_step(ops: list[Op], watching: int) -> None:
    check = said([ops] * STEPS, watching).replay

    assert check is not None and check.unknown is None
    assert check.recorded_us is not None
    assert check.replayed_us == pytest.approx(check.recorded_us, rel=0.02, abs=8)


@settings(max_examples=400, deadline=None)
@given(ANY)
def test_any_gain_is_the_true_one(ops: list[Op]) -> None:
    program = [ops] * STEPS
    summary = said(program)
    waits = [op for op in ops if isinstance(op, Read | Sync | EventSync)]

    for line in {op.line for op in waits}:
        # A few microseconds for each wait whose waking up the recording did not show.
        assert gain_of(summary, line) == pytest.approx(true_gain(program, line), rel=0.05, abs=8 * len(waits) + 5)


@settings(max_examples=200, deadline=None)
@given(ANY)
def test_gains_are_not_negative_and_all_of_them_are_at_least_the_largest(ops: list[Op]) -> None:
    summary = said([ops] * STEPS)

    gains = [site.gain_us for site in summary.sites if site.gain_us is not None]
    assert all(gain >= -1 for gain in gains)
    if gains:
        assert summary.per_step.gain_us is not None and summary.per_step.gain_us >= max(gains) - 1


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2_000), st.integers(1, 2_000), st.integers(1, 500))
def test_more_host_time_never_makes_a_gain_larger_than_the_wait(behind: int, kernel: int, before: int) -> None:
    program: list[list[Op]] = [
        [Work(before * US), Launch(kernel * US), Sync(1), Work(behind * US)],
    ] * STEPS
    summary = said(program)
    (site,) = summary.sites

    assert site.gain_us is not None and site.host_blocked_us is not None
    assert site.gain_us <= site.host_blocked_us + 2


def test_of_a_long_recording_a_line_that_waits_later_has_no_gain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gains, "MOST_CALLS", 30)
    early: list[Op] = [Work(50 * US), Launch(90 * US), Read(1)]
    program = [early] * STEPS + [[Launch(400 * US), Read(2), Work(300 * US)]] * STEPS

    summary = said(program)

    known = {site.line: site.gain_us is not None for site in summary.sites}
    assert known == {2: True, 3: False}
    assert summary.per_step.gain_us is None
    assert summary.replay is not None and summary.replay.steps < 2 * STEPS
    assert any(f"the first {summary.replay.steps} of {2 * STEPS} steps" in note for note in summary.notes)


def test_lines_that_gain_more_together_say_so_however_much_each_gains_alone() -> None:
    program: list[list[Op]] = [[Launch(400 * US), Read(1), Read(2), Work(300 * US)]] * STEPS

    shared = [site.gain_shared for site in said(program).sites]

    together = true_gain(program, 1, 2)
    assert [each and each.others for each in shared] == [1, 1]
    assert all(each is not None and each.gain_us == pytest.approx(together, rel=0.02) for each in shared)


def test_the_thread_that_marks_a_step_ends_it_and_not_the_busiest() -> None:
    # GIVEN a thread that launches all the time on a stream of its own, beside one that marks steps and reads
    program: list[list[Op]] = [[Launch(300 * US), Read(1), Work(100 * US), Launch(20 * US)]] * STEPS
    known, _ = run(program)
    end = known.steps[-1].end_ns
    others = tuple(
        KernelEvent(None, 30, "load", at + 6 * US, at + 8 * US, Call(1, "cudaLaunchKernel", at, at + 2 * US))
        for at in range(0, end, 5 * US)
    )
    marked = tuple(RangeEvent(0, f"{STEP_RANGE} {step.index}", step.start_ns, step.end_ns) for step in known.steps)
    kernels = tuple(sorted((*(known.kernels or ()), *others), key=lambda each: each.start_ns))
    busy = replace(known, kernels=kernels, ranges=marked, threads=("main", "loader"))

    # THEN the gain is that of the steps
    assert gain_of(analysed_recording(busy).summary, 1) == pytest.approx(true_gain(program, 1), rel=0.03, abs=8)
