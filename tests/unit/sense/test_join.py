from __future__ import annotations

from syncwatch.model.events import Direction, HostMemory, Step, SyncEvent, SyncKind
from syncwatch.sense.cupti import CopyCall, KernelRun, RuntimeTrace, Span, SyncCall
from syncwatch.sense.join import join

MAIN, AUTOGRAD = 0, 1
MAIN_TID, AUTOGRAD_TID = 4001, 4002
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
        seen_by=("gpu_trace",),
    )


def call(kind: SyncKind, start: int, tid: int = MAIN_TID, pacing: bool = False) -> SyncCall:
    return SyncCall(tid, kind, start, start + 5, "aten.copy_", start - 1, pacing)


def trace(*syncs: SyncCall, copies: tuple[CopyCall, ...] = (), kernels: tuple[KernelRun, ...] = ()) -> RuntimeTrace:
    steps = (Span(MAIN_TID, "syncwatch.step 0", 100, 199), Span(MAIN_TID, "syncwatch.step 1", 200, 299))
    return RuntimeTrace(syncs, copies, kernels, steps, (0, 1000))


STEPS = (Step(0, True, 1, 2), Step(1, False, 3, 4))


def test_rows_are_joined_in_order_within_their_step_and_thread() -> None:
    events = [hooked(SyncKind.STREAM, 7), hooked(SyncKind.DEVICE, 8), hooked(SyncKind.STREAM, 9, step=1)]
    rows = [call(SyncKind.STREAM, 110), call(SyncKind.DEVICE, 120), call(SyncKind.STREAM, 210)]

    joined = join(events, STEPS, THREADS, trace(*rows))

    assert [(each.step, each.stack, each.start_ns) for each in joined.syncs] == [(0, 7, 110), (0, 8, 120), (1, 9, 210)]
    assert joined.syncs[0].op == "aten.copy_" and joined.syncs[0].seen_by == ("gpu_trace", "cupti")
    assert (joined.seen, joined.notes) == (3, ())


def test_an_uncertain_join_keeps_the_lines_and_gives_no_time() -> None:
    events = [hooked(SyncKind.STREAM, 7), hooked(SyncKind.STREAM, 9, step=1)]
    rows = [call(SyncKind.STREAM, 110), call(SyncKind.STREAM, 120), call(SyncKind.STREAM, 210)]

    joined = join(events, STEPS, THREADS, trace(*rows))

    assert [(each.stack, each.start_ns) for each in joined.syncs] == [(7, None), (9, 210)]
    assert joined.seen == 3
    assert "in step 0" in joined.notes[0] and "no price" in joined.notes[0]


def test_a_synchronization_that_no_hook_saw_stands_without_a_line() -> None:
    joined = join([], STEPS, THREADS, trace(call(SyncKind.STREAM, 110, AUTOGRAD_TID)))

    assert [(each.thread, each.stack, each.seen_by) for each in joined.syncs] == [(AUTOGRAD, None, ("cupti",))]


def test_the_runners_own_waits_are_not_counted_as_seen() -> None:
    joined = join([], STEPS, THREADS, trace(call(SyncKind.EVENT, 110, pacing=True), call(SyncKind.STREAM, 120)))

    assert joined.seen == 1


def test_a_copy_has_the_line_of_the_wait_in_its_operator() -> None:
    copy = CopyCall(MAIN_TID, 108, 109, Direction.D2H, HostMemory.PINNED, 4, True, "aten.copy_", 109, 7, 111, 112)
    free = CopyCall(MAIN_TID, 150, 151, Direction.H2D, HostMemory.PINNED, 8, False, "aten.copy_", 149, 7, 151, 152)

    joined = join([hooked(SyncKind.STREAM, 7)], STEPS, THREADS, trace(call(SyncKind.STREAM, 110), copies=(copy, free)))

    assert [(each.stack, each.step, each.bytes) for each in joined.copies] == [(7, 0, 4), (None, 0, 8)]


def test_a_kernel_belongs_to_the_step_that_launched_it() -> None:
    late = KernelRun(asked_ns=190, name="k", stream=7, start_ns=250, end_ns=260)

    joined = join([], STEPS, THREADS, trace(kernels=(late,)))

    assert joined.kernels[0].step == 0


def test_steps_keep_their_warmup_mark_and_take_the_clock_of_the_trace() -> None:
    joined = join([], STEPS, THREADS, trace())

    assert joined.steps == (Step(0, True, 100, 199), Step(1, False, 200, 299))
