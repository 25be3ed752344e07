"""Each driver call that can hold the host is noted with the line that led to it; an error in that loses no call."""

from __future__ import annotations

import ctypes
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest

from syncwatch.model.events import SyncKind
from syncwatch.sense import active
from syncwatch.sense.cuda import runtime_calls
from syncwatch.sense.cuda.cupti import Cupti
from syncwatch.sense.cuda.runtime_calls import NotedCall, RuntimeCalls, place_of
from syncwatch.sense.recorder import Recorder
from syncwatch.sense.scopes import scope
from syncwatch.sense.scopes.ranges import annotate, step
from tests.helpers.cuda_watch import failing_look, watching
from tests.helpers.fake_cupti import BLOCKING_READ, EVENT, MALLOC, READ, STREAM, UPLOAD, FakeCupti, program


@pytest.fixture
def calls(cupti: FakeCupti) -> Iterator[RuntimeCalls]:
    """What is noted of the calls that the test plays."""
    recorder = Recorder(now_ns=cupti.now)
    noted = RuntimeCalls(recorder, native_stack=lambda: (1, 2, 3))
    subscription = Cupti(noted.handler(), records=False)
    active.push(recorder)
    yield noted
    active.pop(recorder)
    subscription.close()


def lines(calls: RuntimeCalls) -> list[str | None]:
    """Return the innermost line of each call."""
    frames, stacks = calls.recorder._stacks.freeze()
    return [None if each.stack < 0 else frames[stacks[each.stack][0]].code for each in calls.noted()]


def noted(calls: RuntimeCalls) -> list[NotedCall]:
    return list(calls.noted())


def test_a_call_has_the_line_that_led_to_it(calls: RuntimeCalls, cupti: FakeCupti) -> None:
    waits = program((STREAM, 7))
    cupti.play(waits)  # here
    cupti.play(waits)  # and there

    assert lines(calls) == ["cupti.play(waits)  # here", "cupti.play(waits)  # and there"]
    assert [each.id for each in noted(calls)] == [7, 7]
    assert all(each.begin_ns < each.end_ns for each in noted(calls))


def test_a_call_has_its_step_range_and_thread(calls: RuntimeCalls, cupti: FakeCupti) -> None:
    with step(), annotate("inside"):
        cupti.play(program((STREAM, 1)))
    other = threading.Thread(target=cupti.play, args=(program((STREAM, 2)),), name="other")
    other.start()
    other.join()

    inside, outside = (each.around for each in calls.noted())
    assert (inside[0], outside[0]) == (0, None)
    assert inside[3] is not None and outside[3] is None
    assert [calls.recorder._thread_names[each[1]] for each in (inside, outside)] == ["MainThread", "other"]


def test_a_wait_behind_a_copy_at_one_instruction_is_that_of_the_copy(calls: RuntimeCalls, cupti: FakeCupti) -> None:
    cupti.play(program((READ, 1, 8), (STREAM, 2)))

    copy, wait = noted(calls)
    assert (copy.copy, wait.copy, wait.stack, wait.around) == (-1, 1, copy.stack, copy.around)
    assert (copy.bytes, wait.bytes) == (8, 0)


def test_two_copies_before_one_wait_are_a_chain(calls: RuntimeCalls, cupti: FakeCupti) -> None:
    cupti.play(program((UPLOAD, 1), (READ, 2), (STREAM, 3), (STREAM, 4)))

    assert [(each.id, each.copy) for each in noted(calls)] == [(1, -1), (2, 1), (3, 2), (4, -1)]


def test_a_wait_at_another_instruction_is_not_of_the_copy(calls: RuntimeCalls, cupti: FakeCupti) -> None:
    cupti.play(program((UPLOAD, 1)))
    cupti.play(program((STREAM, 2)))
    cupti.play(program((UPLOAD, 3)))
    other = threading.Thread(target=cupti.play, args=(program((STREAM, 4)),))
    other.start()
    other.join()

    assert [each.copy for each in noted(calls)] == [-1] * 4


def test_a_copy_of_the_next_step_at_the_same_line_follows_none_of_the_last(
    calls: RuntimeCalls, cupti: FakeCupti
) -> None:
    for number in (1, 2):
        with step():
            cupti.play(program((UPLOAD, number)))

    assert [(each.around[0], each.copy) for each in noted(calls)] == [(0, -1), (1, -1)]


def test_a_wait_of_the_next_step_at_the_same_line_is_not_that_of_the_last_steps_copy(
    calls: RuntimeCalls, cupti: FakeCupti
) -> None:
    for number in (10, 20):
        with step():
            cupti.play(program((STREAM, number), (UPLOAD, number + 1)))

    assert [(each.id, each.around[0], each.copy) for each in noted(calls)] == [
        (10, 0, -1),
        (11, 0, -1),
        (20, 1, -1),
        (21, 1, -1),
    ]


def test_only_what_torch_itself_synchronizes_was_asked_for(calls: RuntimeCalls, cupti: FakeCupti) -> None:
    code = "def synchronize(play, calls):\n    play(calls)"
    torchs: dict[str, Any] = {"__name__": "torch.cuda.streams"}
    users: dict[str, Any] = {"__name__": "train"}
    for names in (torchs, users):
        exec(code, names)
    torchs["synchronize"](cupti.play, program((EVENT, 1)))
    users["synchronize"](cupti.play, program((EVENT, 2)))
    torchs["synchronize"](cupti.play, program((READ, 3), (STREAM, 4)))

    assert [(each.id, each.explicit) for each in noted(calls)] == [(1, True), (2, False), (3, False), (4, False)]


def test_the_waits_of_an_instruction_are_counted_and_its_copies_not(calls: RuntimeCalls, cupti: FakeCupti) -> None:
    for _ in range(3):
        cupti.play(program((READ, 1), (STREAM, 2), (EVENT, 3), (BLOCKING_READ, 4)))

    ((_, count),) = calls.waits_at().items()
    assert count == 6


def test_what_the_allocator_does_is_no_wait_of_its_instruction(calls: RuntimeCalls, cupti: FakeCupti) -> None:
    """Else it would stand for a wait that torch warned of and nobody saw."""
    cupti.play(program((MALLOC, 1)))

    assert [each.call.kind for each in noted(calls)] == [SyncKind.ALLOCATION]
    assert calls.waits_at() == {}


def test_the_native_stack_is_taken_once_for_each_call_of_a_line(calls: RuntimeCalls, cupti: FakeCupti) -> None:
    for _ in range(3):
        cupti.play(program((STREAM, 1), (MALLOC, 2)))

    assert [each.native for each in noted(calls)] == [0, 1, -1, -1, -1, -1]
    assert list(calls.native_stacks.values()) == [(1, 2, 3)] * 2


def test_on_a_thread_without_python_a_call_has_no_line_and_its_native_stack(
    calls: RuntimeCalls, cupti: FakeCupti
) -> None:
    cupti.play_elsewhere(program((READ, 1), (STREAM, 2)))

    assert lines(calls) == [None, None]
    assert [each.native for each in noted(calls)] == [0, 1]
    assert {each.around[1] for each in noted(calls)} == {0}


def test_on_autograds_thread_a_call_has_the_line_of_backward(calls: RuntimeCalls, cupti: FakeCupti) -> None:
    def _engine_run_backward() -> None:
        cupti.play_elsewhere(program((STREAM, 1)))

    _engine_run_backward()

    assert lines(calls) == ["cupti.play_elsewhere(program((STREAM, 1)))"]


def test_a_call_that_was_not_asked_for_is_a_wait_too() -> None:
    call = NotedCall(9999, 1, 2, 3, 0, (None, 0, False, None, None), -1, -1, -1, False).call

    assert (call.api, call.kind) == ("a driver call", SyncKind.STREAM)


def test_many_calls_come_back_as_they_were(calls: RuntimeCalls, cupti: FakeCupti) -> None:
    expected = []
    for number in range(12):
        with step():
            cupti.play(program((READ, 10 * number, 8), (STREAM, 10 * number + 1)))
        expected += [(READ, 10 * number, 8, number, -1), (STREAM, 10 * number + 1, 0, number, 10 * number)]
    found = noted(calls)

    assert [(each.number, each.id, each.bytes, each.around[0], each.copy) for each in found] == expected
    assert len({each.stack for each in found}) == 1
    assert {type(each.explicit) for each in found} == {bool}


def test_what_is_noted_later_is_not_among_the_calls_so_far(calls: RuntimeCalls, cupti: FakeCupti) -> None:
    cupti.play(program(*((STREAM, each) for each in range(1, 8))))
    before = calls.noted()
    with step():
        cupti.play(program(*((STREAM, each) for each in range(8, 20))))

    assert [each.id for each in before] == list(range(1, 8))
    assert [each.id for each in before[-3:]] == [5, 6, 7]
    assert [each.around[0] for each in calls.noted()] == [None] * 7 + [0] * 12
    with pytest.raises(IndexError):
        before[7]


def test_a_call_that_comes_while_another_is_noted_does_not_wait_and_keeps_its_own_surroundings(
    cupti: FakeCupti,
) -> None:
    """As where Python collects garbage meanwhile, and what frees memory of the GPU is a driver call."""

    class Collecting(dict[runtime_calls.Surroundings, int]):
        """Lets a call of another step come where the first surroundings get their number."""

        def setdefault(self, key: runtime_calls.Surroundings, default: int) -> int:
            if not self:
                super().setdefault((-1, -1, False, None, None), -1)
                with step():
                    cupti.play(program((STREAM, 100)))
            return super().setdefault(key, default)

    recorder = Recorder(now_ns=cupti.now)
    calls = RuntimeCalls(recorder, lambda: (), _around=Collecting())
    subscription = Cupti(calls.handler(), records=False)
    active.push(recorder)
    thread = threading.Thread(target=lambda: [cupti.play(program((STREAM, each))) for each in (1, 2)], daemon=True)
    thread.start()
    thread.join(60)
    active.pop(recorder)
    subscription.close()

    assert not thread.is_alive()
    assert [(each.id, each.around[0]) for each in calls.noted()] == [(100, 0), (1, None), (2, None)]


def test_threads_that_enter_steps_at_once_each_have_their_own(calls: RuntimeCalls, cupti: FakeCupti) -> None:
    def steps() -> None:
        for _ in range(50):
            with step():
                cupti.play(program((STREAM, 1), (STREAM, 2)))

    threads = [threading.Thread(target=steps) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    found = noted(calls)
    assert sorted(each.around[0] or 0 for each in found) == sorted([*range(200)] * 2)
    assert len({each.around for each in found}) == 200


def test_after_the_end_nothing_is_noted(calls: RuntimeCalls, cupti: FakeCupti) -> None:
    before = calls.has_ended
    calls.end()
    cupti.play(program((STREAM, 1)))

    assert (before, calls.has_ended, noted(calls)) == (False, True, [])


def test_what_fails_while_a_call_is_looked_at_leaves_it_without_a_line(
    calls: RuntimeCalls, cupti: FakeCupti, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing_look(monkeypatch, AttributeError("no such attribute"))
    cupti.play(program((STREAM, 5)))

    (wait,) = noted(calls)
    assert (wait.id, wait.call.kind, wait.stack, wait.begin_ns < wait.end_ns) == (5, SyncKind.STREAM, -1, True)
    assert calls.failures == ["AttributeError: no such attribute"]


def test_ctrl_c_in_a_call_is_handed_on_and_the_call_kept(
    calls: RuntimeCalls, cupti: FakeCupti, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing_look(monkeypatch, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        cupti.play(program((STREAM, 5)))

    assert [each.id for each in noted(calls)] == [5]
    assert calls.failures == []


class OutOfTimeError(Exception):
    """What a program's own handler may raise, as one of SIGALRM does."""

    def __init__(self, seconds: int) -> None:
        super().__init__(seconds)


def out_of_time(_number: int, _frame: object) -> None:
    raise OutOfTimeError(7)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_what_a_signal_raises_just_before_a_call_is_looked_at_reaches_the_program_and_no_call_is_lost(
    cupti: FakeCupti, number: signal.Signals
) -> None:
    # Python runs handlers of signals as a function begins: before any `try` of ours.
    many, before = 20_000, signal.getsignal(number)
    expected: type[BaseException] = KeyboardInterrupt
    if number is not signal.SIGINT:
        signal.signal(number, out_of_time)
        expected = OutOfTimeError
    try:
        with watching(times=False) as run:

            def send() -> None:
                while not len(run.calls.noted()):
                    pass
                signal.pthread_kill(threading.main_thread().ident or 0, number)

            other = threading.Thread(target=send)
            other.start()
            with pytest.raises(expected) as raised:
                cupti.play(program(*((STREAM, each) for each in range(1, many + 1))))
                other.join()
            other.join()
    finally:
        signal.signal(number, before)

    assert raised.value.args == ((7,) if expected is OutOfTimeError else ())
    assert len(run.calls.noted()) == many
    assert run.calls.failures == []
    assert sys.unraisablehook.__module__ != "syncwatch.sense.cuda.interrupts"


def test_what_a_callback_of_the_programs_own_raises_is_left_as_it_is(
    cupti: FakeCupti, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda each: heard.append(each.exc_value))

    def fails() -> None:
        raise ValueError("theirs")

    with watching(times=False) as run:
        ctypes.CFUNCTYPE(None)(fails)()
        cupti.play(program((STREAM, 1)))

    assert [str(each) for each in heard] == ["theirs"]
    assert len(run.calls.noted()) == 1


def test_a_look_that_fails_on_another_thread_is_said_and_raised_nowhere(
    calls: RuntimeCalls, cupti: FakeCupti, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: object) -> None:
        raise ValueError("in code that is not the sensor's")

    monkeypatch.setattr(runtime_calls, "nearest_frame", fails)
    thread = threading.Thread(target=cupti.play, args=(program((STREAM, 5)),))
    thread.start()
    thread.join()

    assert calls.failures == ["ValueError: in code that is not the sensor's"]
    assert [each.id for each in noted(calls)] == [5]


def test_a_place_tells_instructions_apart_and_is_the_same_for_every_call() -> None:
    def here() -> tuple[int, int]:
        return place_of(sys._getframe()), place_of(sys._getframe())

    assert here() == here()
    assert len(set(here())) == 2


def test_two_threads_never_share_the_number_of_their_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(now_ns=lambda: 0)
    both_ask = threading.Barrier(2)

    class Slow(dict[tuple[str, ...], int]):
        """A table of names in which two threads see the same length before either adds its own."""

        def __len__(self) -> int:
            found = super().__len__()
            if not cast(Any, recorder._lock)._is_owned():
                both_ask.wait(timeout=60)
            return found

    recorder._range_stacks = Slow()
    numbers: list[int | None] = []

    monkeypatch.setattr(scope, "ranges", lambda: (threading.current_thread().name,))
    threads = [threading.Thread(target=lambda: numbers.append(recorder.within()), name=name) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(numbers, key=str) == [0, 1]
