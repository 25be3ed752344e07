"""Waits that the hooks saw in one pass are joined, in order, to the rows that the profiler recorded in another."""

from __future__ import annotations

from collections.abc import Sequence

from syncwatch.model.events import (
    Call,
    CopyEvent,
    Direction,
    HostMemory,
    KernelEvent,
    RangeEvent,
    Step,
    SyncEvent,
    SyncKind,
)
from syncwatch.sense.cuda.join import HookedWaits, Joined, join
from syncwatch.sense.cuda.runtime_trace import RuntimeTrace, Thread
from syncwatch.traces.copy_waits import TraceCopy, TraceWait
from syncwatch.traces.process import Operator

MAIN, AUTOGRAD = 0, 1
MAIN_TID, AUTOGRAD_TID = 4001, 4002
ROW_TIDS = (MAIN_TID, AUTOGRAD_TID, 7777, 9001)
"""The threads of the record."""
THREADS = {MAIN_TID: MAIN, AUTOGRAD_TID: AUTOGRAD}


def hooked(kind: SyncKind, stack: int, step: int | None = 0, thread: int = MAIN) -> SyncEvent:
    return SyncEvent(
        step=step,
        thread=thread,
        kind=kind,
        explicit=False,
        op=None,
        stack=stack,
        stream=None,
        start_ns=None,
        end_ns=None,
        pacing=False,
        seen_by=("debug_mode",),
    )


def call(kind: SyncKind, start: int, tid: int = MAIN_TID, pacing: bool = False) -> TraceWait:
    thread, operator = ROW_TIDS.index(tid), Operator("aten.copy_", start - 1)
    return TraceWait(kind, thread, 7, 0, "cudaStreamSynchronize", operator, start, start, start + 5, pacing)


def copy_call(start: int, direction: Direction, size: int, *, blocking: bool, tid: int = MAIN_TID) -> TraceCopy:
    thread = ROW_TIDS.index(tid)
    asked = Call(thread, "cudaMemcpyAsync", start, start + 1)
    event = CopyEvent(None, thread, direction, HostMemory.PINNED, size, None, None, None, 7, 111, 112, asked)
    return TraceCopy(event, blocking, Operator("aten.copy_", start + 1))


def trace(*waits: TraceWait, copies: tuple[TraceCopy, ...] = (), kernels: tuple[KernelEvent, ...] = ()) -> RuntimeTrace:
    steps = (RangeEvent(0, "syncwatch.step 0", 100, 199), RangeEvent(0, "syncwatch.step 1", 200, 299))
    threads = tuple(Thread(tid, f"thread {tid}") for tid in ROW_TIDS)
    return RuntimeTrace(waits, copies, kernels, steps, threads, (0, 1000))


STEPS = (Step(0, True, 1, 2), Step(1, False, 3, 4))


def joined_of(events: Sequence[SyncEvent], rows: RuntimeTrace, copies: Sequence[CopyEvent] = ()) -> Joined:
    return join(HookedWaits(events, copies, STEPS, ("MainThread", "autograd"), THREADS), rows)


def test_rows_are_joined_in_order_within_their_step_and_thread() -> None:
    events = [hooked(SyncKind.STREAM, 7), hooked(SyncKind.DEVICE, 8), hooked(SyncKind.STREAM, 9, step=1)]
    rows = [call(SyncKind.STREAM, 110), call(SyncKind.DEVICE, 120), call(SyncKind.STREAM, 210)]

    joined = joined_of(events, trace(*rows))

    assert [(each.step, each.stack, each.start_ns) for each in joined.syncs] == [(0, 7, 110), (0, 8, 120), (1, 9, 210)]
    assert joined.syncs[0].op == "aten.copy_" and joined.syncs[0].seen_by == ("debug_mode", "cupti")
    assert (joined.seen, joined.notes) == (3, ())


def test_an_uncertain_join_keeps_the_lines_and_gives_no_time() -> None:
    events = [hooked(SyncKind.STREAM, 7), hooked(SyncKind.STREAM, 9, step=1)]
    rows = [call(SyncKind.STREAM, 110), call(SyncKind.STREAM, 120), call(SyncKind.STREAM, 210)]

    joined = joined_of(events, trace(*rows))

    assert [(each.stack, each.start_ns) for each in joined.syncs] == [(7, None), (9, 210)]
    assert joined.seen == 3
    assert "in step 0" in joined.notes[0] and "no price" in joined.notes[0]


def test_a_synchronization_that_no_hook_saw_stands_without_a_line() -> None:
    joined = joined_of([], trace(call(SyncKind.STREAM, 110, AUTOGRAD_TID)))

    assert [(each.thread, each.stack, each.seen_by) for each in joined.syncs] == [(AUTOGRAD, None, ("cupti",))]


def test_the_runners_own_waits_are_not_counted_as_seen() -> None:
    joined = joined_of([], trace(call(SyncKind.EVENT, 110, pacing=True), call(SyncKind.STREAM, 120)))

    assert joined.seen == 1


def test_a_copy_has_the_line_of_the_wait_in_its_operator() -> None:
    copy = copy_call(108, Direction.D2H, 4, blocking=True)
    free = copy_call(150, Direction.H2D, 8, blocking=False)

    joined = joined_of([hooked(SyncKind.STREAM, 7)], trace(call(SyncKind.STREAM, 110), copies=(copy, free)))

    assert [(each.stack, each.step, each.bytes) for each in joined.copies] == [(7, 0, 4), (None, 0, 8)]


def test_a_kernel_belongs_to_the_step_that_launched_it() -> None:
    late = KernelEvent(None, 7, "k", 250, 260, Call(MAIN, "cudaLaunchKernel", 190, 195))

    joined = joined_of([], trace(kernels=(late,)))

    assert joined.kernels[0].step == 0
    assert joined.kernels[0].call == Call(MAIN, "cudaLaunchKernel", 190, 195)


def test_steps_keep_their_warmup_mark_and_take_the_clock_of_the_trace() -> None:
    joined = joined_of([], trace())

    assert joined.steps == (Step(0, True, 100, 199), Step(1, False, 200, 299))


def copied(stack: int, direction: Direction, size: int) -> CopyEvent:
    return CopyEvent(0, MAIN, direction, None, size, None, None, stack, None, None, None)


def test_hooked_copy_calls_lend_their_lines_to_copies_in_order() -> None:
    rows = trace(
        copies=(copy_call(108, Direction.H2D, 4, blocking=False), copy_call(120, Direction.D2H, 8, blocking=True))
    )

    joined = joined_of([], rows, [copied(3, Direction.H2D, 4), copied(4, Direction.D2H, 8)])

    assert [each.stack for each in joined.copies] == [3, 4]


def test_copies_that_differ_in_size_lend_nothing() -> None:
    rows = trace(copies=(copy_call(108, Direction.H2D, 4, blocking=False),))

    assert [each.stack for each in joined_of([], rows, [copied(3, Direction.H2D, 400)]).copies] == [None]


def test_a_copy_call_that_held_the_host_has_the_line_of_the_hooked_call() -> None:
    held = copy_call(108, Direction.D2H, 8, blocking=True)
    wait = TraceWait(SyncKind.COPY, MAIN, 7, 0, "cudaMemcpyAsync", held.operator, 108, 108, 109)

    joined = joined_of([], trace(wait, copies=(held,)), [copied(4, Direction.D2H, 8)])

    assert [(each.kind, each.stack, each.seen_by) for each in joined.syncs] == [
        (SyncKind.COPY, 4, ("runtime_calls", "cupti"))
    ]


def test_allocator_calls_are_joined_apart_and_not_counted_as_synchronizations() -> None:
    malloc = TraceWait(SyncKind.ALLOCATION, MAIN, None, 0, "cudaMalloc", None, 105, 105, 109)
    events = [hooked(SyncKind.STREAM, 7), hooked(SyncKind.ALLOCATION, 8)]

    joined = joined_of(events, trace(malloc, call(SyncKind.STREAM, 110)))

    assert sorted((each.stack or 0, each.start_ns or 0, each.api) for each in joined.syncs) == [
        (7, 110, "cudaStreamSynchronize"),
        (8, 105, "cudaMalloc"),
    ]
    assert joined.seen == 1


def test_threads_started_anew_are_matched_in_the_order_they_came() -> None:
    events = [hooked(SyncKind.STREAM, 7, thread=AUTOGRAD)]

    joined = joined_of(events, trace(call(SyncKind.STREAM, 110, tid=MAIN_TID), call(SyncKind.STREAM, 120, tid=9001)))

    assert (AUTOGRAD, 7, 120) in [(each.thread, each.stack, each.start_ns) for each in joined.syncs]
    assert joined.threads == ("MainThread", "autograd")


def test_autograds_waits_that_were_warned_of_behind_the_fact_are_found_on_its_own_thread() -> None:
    events = [hooked(SyncKind.STREAM, 7), hooked(SyncKind.STREAM, 9, thread=AUTOGRAD)]
    native = {MAIN_TID: MAIN, -2: AUTOGRAD}
    rows = trace(call(SyncKind.STREAM, 110), call(SyncKind.STREAM, 120, tid=7777))

    joined = join(HookedWaits(events, (), STEPS, ("MainThread", "autograd backward"), native), rows)

    assert [(each.thread, each.stack, each.start_ns) for each in joined.syncs] == [(MAIN, 7, 110), (AUTOGRAD, 9, 120)]
    assert joined.notes == ()
