"""A watch that is begun and ended by calls, as a server does it, on the virtual device."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch

import syncwatch
from syncwatch.errors import UsageError
from syncwatch.model.session import Recording
from syncwatch.sense.recorder import Recorder
from tests.helpers.command import ROOT
from tests.helpers.waits import sites_that_wait, waits_of


def wait() -> None:
    torch.ones(3, device="cuda").sum().item()


def on_a_thread(call: Callable[[], None]) -> None:
    """Run `call` to its end on another thread; what it raises is raised here."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, name="handler")
    thread.start()
    thread.join()
    if raised:
        raise raised[0]


def test_what_runs_between_start_and_stop_is_watched() -> None:
    with syncwatch.watch(device="virtual"):
        watch = syncwatch.watch(device="virtual")
        wait()
        watch.start()
        wait()
        wait()
        watch.stop()
        wait()

    assert [(site.code, site.calls) for site in sites_that_wait(watch.report.sites)] == [("SW101", 2)]
    assert watch.session.complete


def test_it_may_be_ended_on_another_thread_than_it_began_on() -> None:
    watch = syncwatch.watch(device="virtual")
    on_a_thread(watch.start)
    wait()
    on_a_thread(wait)
    on_a_thread(watch.stop)

    recording = watch.session.recordings[0]
    assert [recording.threads[each.thread] for each in waits_of(recording)] == ["MainThread", "handler"]


def test_a_watch_that_has_not_begun_cannot_be_stopped() -> None:
    watch = syncwatch.watch(device="virtual")

    with pytest.raises(UsageError, match=r"has not begun\. Call its `start\(\)` first"):
        watch.stop()
    with pytest.raises(UsageError, match=r"has not ended.*`stop\(\)`"):
        _ = watch.report


def test_a_watch_begins_once() -> None:
    watch = syncwatch.watch(device="virtual")
    watch.start()
    with pytest.raises(UsageError, match=r"has begun already\. Make another one"):
        watch.start()
    wait()
    watch.stop()

    with pytest.raises(UsageError, match=r"has ended, and watches once\. Make another one"):
        watch.start()
    with pytest.raises(UsageError, match=r"has ended already\. Read its report"):
        watch.stop()
    assert len(waits_of(watch.session.recordings[0])) == 1


def test_a_block_that_was_stopped_inside_ends_there() -> None:
    with syncwatch.watch(device="virtual"), syncwatch.watch(device="virtual") as watch:
        wait()
        watch.stop()
        wait()

    assert len(waits_of(watch.session.recordings[0])) == 1


def test_one_that_could_not_begin_may_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = syncwatch.watch(device="virtual")
    with monkeypatch.context() as patch:
        patch.setattr("syncwatch.sense.watched_block.open_device", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            watch.start()
    watch.start()
    wait()
    watch.stop()

    assert len(waits_of(watch.session.recordings[0])) == 1


def test_watches_that_overlap_leave_nothing_behind() -> None:
    hooks = threading.excepthook, sys.unraisablehook, threading.Thread.start
    first, second = syncwatch.watch(device="virtual"), syncwatch.watch(device="virtual")
    first.start()
    wait()
    second.start()
    wait()
    first.stop()
    wait()
    second.stop()

    assert [len(waits_of(each.session.recordings[0])) for each in (first, second)] == [2, 2]
    assert (threading.excepthook, sys.unraisablehook, threading.Thread.start) == hooks


def test_a_recording_that_cpython_could_not_make_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Recorder.freeze
    failed: list[None] = []

    def freeze(*words: Any, **named: Any) -> Recording:
        if len(failed) < 3:
            failed.append(None)
            raise SystemError("bad argument to internal function")
        return plain(*words, **named)

    hooks = threading.excepthook, threading.Thread.start
    monkeypatch.setattr(Recorder, "freeze", freeze)
    with syncwatch.watch(device="virtual") as watch:
        wait()

    assert len(failed) == 3 and len(waits_of(watch.session.recordings[0])) == 1
    assert (threading.excepthook, threading.Thread.start) == hooks


def test_a_recording_that_cannot_be_made_at_all_is_no_clean_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def freeze(*_: Any, **__: Any) -> Recording:
        raise SystemError("bad argument to internal function")

    monkeypatch.setattr(Recorder, "freeze", freeze)
    with syncwatch.watch(device="virtual") as watch:
        wait()

    assert not watch.session.recordings and not watch.session.complete
    assert "could not be read" in watch.session.missing[0]


def test_a_watch_that_is_never_stopped_is_taken_off_before_python_ends() -> None:
    code = (
        "import torch, syncwatch\nwatch = syncwatch.watch('virtual')\nwatch.start()\n"
        "print(torch.ones(3, device='cuda').sum().item())\n"
    )

    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "3.0\n", "")
