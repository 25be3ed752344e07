from __future__ import annotations

from syncwatch.model.events import SyncEvent, SyncKind
from syncwatch.sense.reconcile import reconciled

LINE_A, LINE_B, BACKWARD_LINE = 0, 1, 2
MAIN, AUTOGRAD = 0, 1


def event(sensor: str, stack: int | None, thread: int = MAIN, step: int = 0) -> SyncEvent:
    return SyncEvent(
        step=step,
        thread=thread,
        kind=SyncKind.STREAM,
        explicit=False,
        op=None,
        stack=stack,
        stream=None,
        start_ns=None,
        end_ns=None,
        pacing=False,
        seen_by=(sensor,),
    )


def test_a_warning_and_a_callback_of_one_wait_are_one_event() -> None:
    found = reconciled([event("debug_mode", LINE_A), event("gpu_trace", LINE_A)])

    assert [(each.stack, each.seen_by) for each in found] == [(LINE_A, ("gpu_trace", "debug_mode"))]


def test_warnings_held_back_until_the_operator_returns_still_match() -> None:
    events = [event("gpu_trace", LINE_A), event("gpu_trace", LINE_A), *[event("debug_mode", LINE_A)] * 2]

    assert [each.seen_by for each in reconciled(events)] == [("gpu_trace", "debug_mode")] * 2


def test_what_only_one_sensor_saw_is_kept() -> None:
    found = reconciled([event("gpu_trace", LINE_A), event("debug_mode", LINE_B)])

    assert [(each.stack, each.seen_by) for each in found] == [(LINE_A, ("gpu_trace",)), (LINE_B, ("debug_mode",))]


def test_a_warning_relayed_to_the_thread_that_called_backward_lends_its_line() -> None:
    found = reconciled([event("gpu_trace", None, AUTOGRAD), event("debug_mode", BACKWARD_LINE, MAIN)])

    assert [(each.thread, each.stack) for each in found] == [(AUTOGRAD, BACKWARD_LINE)]


def test_a_warning_of_another_step_lends_nothing() -> None:
    found = reconciled([event("gpu_trace", None, AUTOGRAD, step=0), event("debug_mode", BACKWARD_LINE, step=1)])

    assert [(each.step, each.stack) for each in found] == [(0, None), (1, BACKWARD_LINE)]
