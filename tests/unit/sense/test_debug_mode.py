"""Each warning of torch's sync debug mode becomes a wait with its line, whatever the program does to warnings."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator

import pytest
import torch

from syncwatch.model.events import SyncEvent
from syncwatch.model.session import Coverage
from syncwatch.sense.cuda.debug_mode import DebugMode
from syncwatch.sense.cuda.sync_warnings import MESSAGE
from syncwatch.sense.recorder import Recorder


class Mode:
    """Stands for the one debug mode of the process."""

    def __init__(self, mode: int = 0) -> None:
        self.mode = mode

    def set(self, mode: int) -> None:
        self.mode = mode

    def get(self) -> int:
        return self.mode


@pytest.fixture()
def mode(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mode]:
    stand_in = Mode()
    monkeypatch.setattr(torch._C, "_cuda_set_sync_debug_mode", stand_in.set, raising=False)
    monkeypatch.setattr(torch._C, "_cuda_get_sync_debug_mode", stand_in.get, raising=False)
    yield stand_in


def waits() -> None:
    """Warn as torch does behind a wait."""
    warnings.warn(f"{MESSAGE} (Triggered internally at ...)", stacklevel=1)


def started() -> tuple[DebugMode, Recorder]:
    recorder = Recorder(now_ns=time.time_ns)
    sensor = DebugMode()
    sensor.start(recorder)
    return sensor, recorder


def of(recorder: Recorder) -> list[SyncEvent]:
    return list(recorder.syncs)


def test_every_warning_is_a_wait_with_its_line_and_is_not_shown(mode: Mode) -> None:
    with warnings.catch_warnings(record=True) as shown:
        sensor, recorder = started()
        for _ in range(3):
            waits()
        sensor.stop()

    assert [each.stack for each in of(recorder)] == [0, 0, 0]
    assert shown == []
    assert mode.mode == 0


def test_sensors_inside_one_another_record_the_same(mode: Mode) -> None:
    outer, recorded_outside = started()
    inner, recorded_inside = started()
    waits()
    inner.stop()
    waits()
    outer.stop()

    assert (len(of(recorded_inside)), len(of(recorded_outside))) == (1, 2)
    assert mode.mode == 0


def test_blocks_that_catch_or_silence_warnings_hide_no_wait(mode: Mode) -> None:
    sensor, recorder = started()
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("ignore")
        waits()
    sensor.stop()

    assert len(of(recorder)) == 1


def test_a_user_who_asked_for_the_warnings_still_sees_them(mode: Mode) -> None:
    mode.set(1)
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        sensor, recorder = started()
        waits()
        sensor.stop()

    assert len(of(recorder)) == len(shown) == 1
    assert mode.mode == 1


def test_a_warning_repeated_by_the_thread_in_backward_is_autograds(mode: Mode) -> None:
    def _engine_run_backward() -> None:
        warnings.warn(MESSAGE, stacklevel=1)

    sensor, recorder = started()
    waits()
    _engine_run_backward()
    sensor.stop()

    threads = recorder.freeze("v", Coverage((), (), None, 0), modelled=False).threads
    assert [threads[each.thread] for each in of(recorder)] == ["MainThread", "autograd backward"]


def test_one_that_begins_later_goes_on_when_the_first_has_ended(mode: Mode) -> None:
    """Hooks that stay until the process ends are put on inside a watch, and outlive it."""
    first, recorded = started()
    second, after = started()

    first.stop()
    waits()
    still = mode.get()
    second.stop()

    assert (len(of(recorded)), len(of(after)), still) == (0, 1, 1)
    assert mode.get() == 0
    assert not any("_Pattern" in type(each[1]).__name__ for each in warnings.filters)
