"""A window of a program on a real GPU: lines and times inside, and nothing attached outside."""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings
from collections.abc import Callable

import pytest
import torch

import syncwatch
from syncwatch.model.session import Session
from syncwatch.model.window import WindowRequest
from syncwatch.sense import active
from syncwatch.sense.windowed_block import WindowedBlock
from tests.helpers.waits import sites_that_wait, waits_of

pytestmark = pytest.mark.gpu


def wait() -> None:
    (torch.ones(256, 256, device="cuda") @ torch.ones(256, 256, device="cuda")).sum().item()


def attached() -> tuple[object, ...]:
    """Return what a watch changes in the process."""
    return (
        active.subscribed(),
        torch.cuda.get_sync_debug_mode(),
        len(warnings.filters),
        threading.Thread.start,
        torch.cuda.synchronize,
        torch.Tensor.copy_,
    )


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not condition() and time.monotonic() < end:
        os.sched_yield()
    assert condition()


def has_times(session: Session) -> bool:
    recording = session.recordings[0]
    return bool(recording.kernels) and all(each.start_ns is not None for each in waits_of(recording))


def test_nothing_is_attached_before_and_behind_the_window() -> None:
    wait()
    alone = attached()
    found = []
    with WindowedBlock("cuda", target="program", window=WindowRequest(skip_steps=2, for_steps=2)) as program:
        for _ in range(6):
            with syncwatch.step():
                wait()
                found.append((attached() == alone, active.subscribed()))

    assert [same for same, _ in found] == [True, True, False, False, True, True]
    assert [subscribed for _, subscribed in found] == [False, False, True, True, False, False]
    session = program.session
    assert len(waits_of(session.recordings[0])) == 2 and has_times(session)
    assert session.window is not None and (session.window.first_step, session.window.last_step) == (2, 3)


def test_a_window_between_two_signals_has_times() -> None:
    wait()
    window = WindowRequest(signal=signal.SIGUSR1)
    with WindowedBlock("cuda", target="program", window=window) as program:
        wait()
        signal.raise_signal(signal.SIGUSR1)
        until(active.subscribed)
        wait()
        signal.raise_signal(signal.SIGUSR1)
        until(lambda: program.has_ended)
        wait()

    assert len(waits_of(program.session.recordings[0])) == 1 and has_times(program.session)


def test_seconds_end_a_window_on_a_thread_of_its_own() -> None:
    wait()
    with WindowedBlock("cuda", target="program", window=WindowRequest(seconds=0.2)) as program:
        while not program.has_ended:
            wait()
    assert has_times(program.session) and not active.subscribed()


def test_a_watch_that_is_ended_on_another_thread_has_times() -> None:
    wait()
    watch = syncwatch.watch(device="cuda")
    watch.start()
    wait()
    thread = threading.Thread(target=watch.stop)
    thread.start()
    thread.join()
    wait()

    assert [site.calls for site in sites_that_wait(watch.report.sites)] == [1]
    assert has_times(watch.session)
