"""A window of a program, on the virtual device: what begins it, what ends it, and what is recorded."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

import syncwatch
from syncwatch.errors import NotMeasuredError
from syncwatch.model.session import Session
from syncwatch.model.window import RunWindow, WindowRequest
from syncwatch.sense import active
from syncwatch.sense.base import Sensed
from syncwatch.sense.virtual.device import WatchedVirtualDevice
from syncwatch.sense.window_words import THREAD, WindowWords
from syncwatch.sense.windowed_block import WindowedBlock
from tests.helpers.waits import waits_of

SIGNAL = signal.SIGUSR1


def block(now_ns: Callable[[], int] | None = None, **asked: Any) -> WindowedBlock:
    clock = now_ns or itertools.count().__next__
    return WindowedBlock("virtual", target="program", window=WindowRequest(**asked), now_ns=clock)


def wait() -> None:
    torch.ones(3, device="cuda").sum().item()


def steps(count: int) -> Iterator[int]:
    for number in range(count):
        with syncwatch.step():
            wait()
            yield number


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not condition() and time.monotonic() < end:
        os.sched_yield()
    assert condition()


def waits(session: Session) -> int:
    return len(waits_of(session.recordings[0]))


def numbers(session: Session) -> tuple[int | None, int | None]:
    assert session.window is not None
    return session.window.first_step, session.window.last_step


def test_only_the_steps_of_the_window_are_recorded() -> None:
    with block(skip_steps=2, for_steps=3) as program:
        wait()
        recorded = [len(active.recorders()) for _ in steps(7)]
        wait()

    session = program.session
    assert recorded == [0, 0, 1, 1, 1, 0, 0]
    assert numbers(session) == (2, 4) and waits(session) == 3
    assert [step.index for step in session.recordings[0].steps] == [0, 1, 2]
    assert session.complete and not session.missing


def test_without_a_beginning_it_begins_with_the_program() -> None:
    with block(for_steps=1) as program:
        wait()
        for _ in steps(3):
            pass

    assert numbers(program.session) == (0, 0) and waits(program.session) == 2


def test_the_clock_says_when_it_was() -> None:
    now = 5
    with block(lambda: now * 10**9, skip_steps=1, for_steps=1) as program:
        for number in steps(3):
            now += 2 + number

    assert program.session.window == RunWindow(2 * 10**9, 5 * 10**9, 1, 1)


def test_a_step_in_a_step_ends_no_window_of_the_outer_one() -> None:
    with block(for_steps=1) as program, syncwatch.step():
        for _ in steps(2):
            pass
        wait()

    assert waits(program.session) == 3


def test_steps_of_any_thread_count() -> None:
    with block(skip_steps=1, for_steps=1) as program:
        for _ in range(3):
            thread = threading.Thread(target=lambda: list(steps(1)))
            thread.start()
            thread.join()

    assert numbers(program.session) == (1, 1) and waits(program.session) == 1


def test_the_first_signal_begins_and_the_second_ends() -> None:
    before = signal.getsignal(SIGNAL)
    with block(signal=SIGNAL) as program:
        list(steps(1))
        signal.raise_signal(SIGNAL)
        until(active.recorders)
        list(steps(2))
        signal.raise_signal(SIGNAL)
        until(lambda: program.has_ended)
        list(steps(1))
        signal.raise_signal(SIGNAL)

    assert numbers(program.session) == (1, 2) and waits(program.session) == 2
    assert signal.getsignal(SIGNAL) is before
    until(lambda: THREAD not in [thread.name for thread in threading.enumerate()])


def test_steps_may_end_what_a_signal_began() -> None:
    with block(signal=SIGNAL, for_steps=2) as program:
        with syncwatch.step():
            signal.raise_signal(SIGNAL)
            until(active.recorders)
        list(steps(4))

    assert numbers(program.session) == (1, 2) and waits(program.session) == 2


def test_seconds_end_it_while_the_program_runs_on() -> None:
    with block(skip_steps=0, seconds=1e-3) as program:
        inside = 0
        while not program.has_ended:
            with syncwatch.step():
                inside += 1
                wait()
        wait()

    assert waits(program.session) == inside and program.session.complete
    assert not program.session.notes and program.session.window is not None


def test_what_the_clock_ends_is_no_half_of_a_step() -> None:
    with block(skip_steps=0, seconds=1e-3) as program:
        with syncwatch.step():
            wait()
            # The clock has asked for the end, and the step goes on.
            until(lambda: program._steps._last is not None)
            ended = program.has_ended
            wait()
        behind = program.has_ended
        with syncwatch.step():
            wait()

    session = program.session
    assert (ended, behind) == (False, True)
    assert [len(each.steps) for each in session.recordings] == [1] and waits(session) == 2


def test_seconds_count_from_the_beginning_of_the_window() -> None:
    ended = threading.Event()
    words = WindowWords(None, 1e-3, lambda: None, ended.set)
    words.start()
    assert not ended.is_set()

    words.begun()

    assert ended.wait(60)
    words.stop()


def test_it_is_told_when_the_window_has_ended() -> None:
    program, told = block(for_steps=1), []
    program.call_when_finished(lambda: told.append(program.snapshot()))
    with program:
        list(steps(2))
        assert told == [program.session]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"skip_steps": 5}, "begins with step 5, the first being 0, and 2 steps were marked"),
        ({"signal": SIGNAL}, "no SIGUSR1 came. Send one with `kill -USR1`"),
    ],
)
def test_a_window_that_never_began_is_no_recording_and_says_why(asked: dict[str, Any], said: str) -> None:
    with block(**asked) as program:
        list(steps(2))

    session = program.session
    assert not session.recordings and session.window is None
    assert not session.complete and said in session.missing[0]


def test_a_signal_that_the_program_handles_itself_is_said() -> None:
    before = signal.getsignal(SIGNAL)
    heard: list[int] = []
    with block(signal=SIGNAL) as program:
        signal.signal(SIGNAL, lambda number, _: heard.append(number))
        signal.raise_signal(SIGNAL)
    own = signal.signal(SIGNAL, before)

    assert heard == [SIGNAL] and callable(own)
    assert "handler of its own for SIGUSR1" in program.session.missing[0]


def test_the_program_may_end_before_the_window_does() -> None:
    with block(skip_steps=1, for_steps=5) as program:
        list(steps(3))

    session = program.session
    assert session.complete and numbers(session) == (1, 2)
    assert session.notes[-1] == "The program ended before the window did: 2 of its 5 steps ran."


def test_a_device_that_cannot_be_watched_is_no_error_of_the_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise NotMeasuredError("It cannot be watched.")

    monkeypatch.setattr(WatchedVirtualDevice, "watch", refuse)
    ran: list[int] = []
    with pytest.raises(NotMeasuredError, match="cannot be watched"), block(skip_steps=1):
        ran.extend(steps(3))

    assert ran == [0, 1, 2]
    assert active.step_counter() is None


@pytest.mark.parametrize(("ran", "recorded", "complete"), [(1, 0, False), (3, 1, False), (5, 1, False)])
def test_an_exception_leaves_what_there_is(ran: int, recorded: int, complete: bool) -> None:
    program = block(skip_steps=2, for_steps=2)
    with pytest.raises(RuntimeError), program:
        list(steps(ran))
        raise RuntimeError

    assert len(program.session.recordings) == recorded
    assert program.session.complete == complete
    assert "ended by RuntimeError" in program.session.missing[-1]


def test_ctrl_c_behind_the_window_leaves_it_whole() -> None:
    program = block(skip_steps=2, for_steps=2)
    with pytest.raises(KeyboardInterrupt), program:
        list(steps(5))
        raise KeyboardInterrupt

    assert program.session.complete and waits(program.session) == 2


@pytest.mark.parametrize(("ran", "recorded", "complete"), [(1, 0, False), (3, 1, True), (5, 1, True)])
def test_a_program_that_leaves_without_coming_back_is_cut(ran: int, recorded: int, complete: bool) -> None:
    with block(skip_steps=2, for_steps=2) as program:
        list(steps(ran))
        session = program.end_early(())

    assert len(session.recordings) == recorded and session.complete == complete
    assert (session.window is None) == (not recorded)


def test_a_checkpoint_has_what_there_is() -> None:
    program = block(skip_steps=1, for_steps=2)
    assert program.snapshot() is None
    with program:
        taken = [program.snapshot() for _ in steps(5)]

    known = [each for each in taken if each is not None]
    assert [len(each.recordings) for each in known] == [0, 1, 1, 1, 1]
    assert [each.complete for each in known] == [False, False, False, True, True]
    assert known[-1] is program.session and known[-2] is known[-1]


def test_a_device_is_watched_in_the_window_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    plain = WatchedVirtualDevice.watch

    @contextlib.contextmanager
    def watch(self: WatchedVirtualDevice, variant: str) -> Iterator[Sensed]:
        told.append("on")
        with plain(self, variant) as sensed:
            yield sensed
        told.append("off")

    monkeypatch.setattr(WatchedVirtualDevice, "watch", watch)
    with block(skip_steps=1, for_steps=2):
        told.append("program")
        told.extend(f"step {number}" for number in steps(4))
        told.append("behind")

    assert told == ["program", "step 0", "on", "step 1", "step 2", "off", "step 3", "behind"]


def test_a_fork_that_outlives_the_window_is_no_business_of_its_report() -> None:
    reading, writing = os.pipe()
    with block(skip_steps=0, for_steps=1) as program:
        with syncwatch.step():
            wait()
            child = os.fork()
            if not child:
                os.close(writing)
                os.read(reading, 1)
                os._exit(0)
        left = program.session.unwatched
        os.close(writing)
        os.waitpid(child, 0)
    os.close(reading)

    assert left == () and program.session.unwatched == ()
    assert "forked once" in program.session.recordings[0].notes[-1]


def test_the_device_is_on_before_and_behind_the_window_and_off_at_the_end() -> None:
    with block(skip_steps=1, for_steps=1):
        assert torch.cuda.is_available()
        list(steps(3))
        assert torch.cuda.is_available() and torch.ones(1, device="cuda").item() == 1

    assert active.step_counter() is None and not active.recorders()
