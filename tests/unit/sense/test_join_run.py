"""Hooks and the profiler's rows of one run are joined by time; a wait that one side missed disturbs no other."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from syncwatch.model.events import Step, SyncEvent, SyncKind
from syncwatch.sense.cuda.join import HookedWaits, Joined
from syncwatch.sense.cuda.join_run import join_run
from syncwatch.sense.cuda.runtime_trace import RuntimeTrace, Thread
from syncwatch.traces.copy_waits import TraceWait
from syncwatch.traces.process import Operator

MAIN, OUTPUT, AUTOGRAD = 0, 1, 2
TIDS = {4001: MAIN, 4002: OUTPUT, -3: AUTOGRAD}
ROW_TIDS = (4001, 4002, 5001, 6001)
"""The threads of the record."""
STEPS = (Step(0, True, 100, 199), Step(1, False, 200, 299))


def warned(moment: int, stack: int, thread: int = MAIN, step: int | None = 0) -> SyncEvent:
    return hooked(None, moment, stack, SyncKind.STREAM, thread, step)


def announced(moment: int, stack: int, kind: SyncKind = SyncKind.EVENT, thread: int = MAIN) -> SyncEvent:
    return hooked(moment, None, stack, kind, thread, 0)


def hooked(start: int | None, end: int | None, stack: int, kind: SyncKind, thread: int, step: int | None) -> SyncEvent:
    return SyncEvent(step, thread, kind, start is not None, None, stack, None, start, end, False, ("hook",))


def row(start: int, kind: SyncKind = SyncKind.STREAM, tid: int = 4001, op_start: int | None = None) -> TraceWait:
    operator = None if op_start is None else Operator("aten.op", op_start)
    return TraceWait(kind, ROW_TIDS.index(tid), 7, 0, "cudaStreamSynchronize", operator, start, start, start + 2)


def joined(
    events: Sequence[SyncEvent], rows: Sequence[TraceWait], names: dict[int, str] | None = None, ahead: int = 0
) -> Joined:
    threads = tuple(Thread(tid, (names or {}).get(tid, f"thread {tid}")) for tid in ROW_TIDS)
    trace = RuntimeTrace(tuple(rows), (), (), (), threads, (0, 10_000))
    return join_run(HookedWaits(events, (), STEPS, ("MainThread", "output", "autograd backward"), TIDS), trace, ahead)


def joined_times(found: Joined) -> list[tuple[int | None, int | None]]:
    return [(each.stack, each.start_ns) for each in found.syncs]


def test_a_wait_that_no_hook_heard_of_takes_no_line_and_no_time_from_the_others() -> None:
    found = joined([warned(113, 7), warned(143, 8)], [row(110), row(120), row(140)])

    assert joined_times(found) == [(7, 110), (None, 120), (8, 140)]
    assert (found.seen, found.notes) == (3, ())


def test_many_missed_waits_of_a_thread_stay_beside_the_few_that_were_heard_of() -> None:
    rows = [row(100 + 10 * number) for number in range(206)]

    found = joined([warned(1003, 7), announced(1998, 8, SyncKind.STREAM)], rows)

    assert len(found.syncs) == 206
    assert [each for each in joined_times(found) if each[0] is not None] == [(7, 1000), (8, 2000)]


def test_the_warnings_of_one_operator_belong_to_its_last_calls() -> None:
    found = joined([warned(118, 7), warned(119, 7)], [row(102), row(110), row(114)])

    assert joined_times(found) == [(None, 102), (7, 110), (7, 114)]


def test_a_call_in_the_operator_of_another_has_its_line() -> None:
    found = joined([warned(118, 7)], [row(102, op_start=101), row(110, op_start=109), row(114, op_start=109)])

    assert joined_times(found) == [(None, 102), (7, 110), (7, 114)]


def test_a_wait_that_was_asked_for_is_the_next_call_of_its_kind() -> None:
    rows = [row(105), row(111, SyncKind.EVENT), row(121, SyncKind.DEVICE)]

    found = joined([announced(110, 7), announced(120, 8, SyncKind.DEVICE)], rows)

    assert joined_times(found) == [(None, 105), (7, 111), (8, 121)]
    assert [each.kind for each in found.syncs] == [SyncKind.STREAM, SyncKind.EVENT, SyncKind.DEVICE]


def test_to_ask_for_an_event_that_was_never_recorded_is_no_wait() -> None:
    found = joined([announced(110, 7), announced(120, 8)], [row(121, SyncKind.EVENT)])

    assert joined_times(found) == [(8, 121)]
    assert "nothing to wait for" in found.notes[0]


def test_a_warning_without_a_call_keeps_its_line_and_has_no_time() -> None:
    found = joined([warned(103, 7), warned(113, 8)], [row(110)])

    assert joined_times(found) == [(7, None), (8, 110)]
    assert "no record" in found.notes[0]


def test_threads_take_nothing_from_one_another() -> None:
    found = joined(
        [warned(113, 7), announced(110, 9, SyncKind.EVENT, OUTPUT)], [row(110), row(111, SyncKind.EVENT, 4002)]
    )

    assert {(each.thread, each.stack, each.start_ns) for each in found.syncs} == {(MAIN, 7, 110), (OUTPUT, 9, 111)}


def test_warnings_of_backward_belong_to_calls_on_a_thread_of_autograd() -> None:
    rows = [row(110, tid=5001), row(120, tid=5001), row(115, tid=6001)]
    names = {5001: "thread 5001 (pt_autograd_0)", 6001: "thread 6001 (worker)"}

    found = joined([warned(130, 7, AUTOGRAD), warned(131, 7, AUTOGRAD)], rows, names)

    assert sorted((each.stack or 0, each.start_ns) for each in found.syncs) == [(0, 115), (7, 110), (7, 120)]


def test_as_many_of_both_are_the_same_however_far_the_clocks_are_apart() -> None:
    rows = [row(1_000_000 + 30_000 * number) for number in range(100)]
    events = [warned(each.end_ns - 700_000, number) for number, each in enumerate(rows)]

    found = joined(events, rows)

    assert joined_times(found) == [(number, each.call_ns) for number, each in enumerate(rows)]
    assert found.notes == ()


def test_a_clock_that_is_a_little_ahead_loses_no_wait() -> None:
    """By its clock every call begins 8 microseconds after the warning of it; one more call is a library's."""
    rows = [row(100_000 + 60_000 * number) for number in range(100)]
    library = row(100_000 + 60_000 * 50 + 30_000)
    events = [warned(each.end_ns + 2_000 - 10_000, number) for number, each in enumerate(rows)]

    found = joined(events, [*rows[:51], library, *rows[51:]])

    lines = [(number, each.call_ns) for number, each in enumerate(rows)]
    assert sorted(joined_times(found), key=lambda each: each[1] or 0) == [
        *lines[:51],
        (None, library.call_ns),
        *lines[51:],
    ]
    assert found.notes == ()


def test_the_clocks_are_brought_together() -> None:
    found = joined([warned(113, 7)], [row(5110), row(5120)], ahead=5000)

    assert joined_times(found) == [(7, 5110), (None, 5120)]
    assert [step.start_ns for step in found.steps] == [5100, 5200]
    assert found.syncs[1].step == 0


@given(
    st.lists(st.tuples(st.booleans(), st.booleans(), st.sampled_from((SyncKind.STREAM, SyncKind.EVENT))), max_size=40)
)
def test_every_call_is_there_once_and_every_hook_has_its_own_call(waits: list[tuple[bool, bool, SyncKind]]) -> None:
    """A hook sees each wait or not, before it or by torch's warning after it; lines have the numbers of the calls."""
    events, rows = [], []
    for number, (is_hooked, is_announced, kind) in enumerate(waits):
        start = 100 + 20 * number
        rows.append(row(start, kind))
        if is_hooked and is_announced:
            events.append(announced(start - 3, number, kind))
        elif is_hooked:
            events.append(warned(start + 5, number))

    found = joined(events, rows)

    assert [each.start_ns for each in found.syncs] == [each.call_ns for each in rows]
    expected = [number if is_hooked else None for number, (is_hooked, _, _) in enumerate(waits)]
    assert [each.stack for each in found.syncs] == expected
