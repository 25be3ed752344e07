"""Callbacks from CUPTI into Python: an error in one is reported and loses no wait. A fake takes CUPTI's place."""

from __future__ import annotations

import _thread
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from syncwatch.errors import NotMeasuredError
from syncwatch.model.events import SyncKind
from syncwatch.sense.cuda import cupti_callbacks, runtime_calls
from syncwatch.sense.cuda.cupti_callbacks import Subscription
from syncwatch.sense.cuda.runtime_calls import RuntimeCalls
from syncwatch.sense.recorder import Recorder
from syncwatch.sense.scopes import scope

STREAM_SYNCHRONIZE, CONTEXT_SYNCHRONIZE_V2 = 126, 800


class FakeCupti:
    """Stands for libcupti.so, which refuses the calls in `refused`."""

    def __init__(self, *refused: int) -> None:
        self.refused = refused
        self.closed = False

    def subscribe(self, *_: Any) -> int:
        return 0

    def enable(self, _on: int, _handle: Any, _domain: int, call: int) -> int:
        return 1 if call in self.refused else 0

    def unsubscribe(self, _handle: Any) -> int:
        self.closed = True
        return 0

    cuptiSubscribe, cuptiEnableCallback, cuptiUnsubscribe = subscribe, enable, unsubscribe  # noqa: N815


def test_a_call_that_cupti_does_not_tell_of_is_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    library = FakeCupti(STREAM_SYNCHRONIZE)
    monkeypatch.setattr(cupti_callbacks, "_load", lambda: library)

    with pytest.raises(NotMeasuredError, match="does not tell of the driver call with callback id 126"):
        Subscription((121, STREAM_SYNCHRONIZE), lambda *_: None)
    assert library.closed


def test_a_call_that_came_with_a_newer_cuda_may_be_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    library = FakeCupti(CONTEXT_SYNCHRONIZE_V2)
    monkeypatch.setattr(cupti_callbacks, "_load", lambda: library)

    Subscription((STREAM_SYNCHRONIZE, CONTEXT_SYNCHRONIZE_V2), lambda *_: None)
    assert not library.closed


def handler(monkeypatch: pytest.MonkeyPatch, failures: list[str]) -> tuple[Recorder, RuntimeCalls, Any]:
    recorder = Recorder(now_ns=lambda: 0)
    sensor = RuntimeCalls(failures)
    sensor._recorder = recorder
    monkeypatch.setattr(runtime_calls, "returns", bool)
    return recorder, sensor, sensor._handler(recorder)


def test_what_fails_while_a_wait_is_looked_at_leaves_the_wait_without_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    failures: list[str] = []
    recorder, sensor, on_call = handler(monkeypatch, failures)
    monkeypatch.setattr(runtime_calls, "nearest_frame", lambda frame: SimpleNamespace(f_lasti=0).no_such_attribute)

    on_call(None, 1, STREAM_SYNCHRONIZE, 0)
    on_call(None, 1, STREAM_SYNCHRONIZE, 1)
    sensor._flush()

    (wait,) = recorder.syncs
    assert (wait.kind, wait.stack) == (SyncKind.STREAM, None)
    assert failures == ["AttributeError: 'types.SimpleNamespace' object has no attribute 'no_such_attribute'"]


def test_ctrl_c_in_a_wait_is_handed_on_and_the_wait_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder, sensor, on_call = handler(monkeypatch, [])
    handed: list[bool] = []
    monkeypatch.setattr(_thread, "interrupt_main", lambda: handed.append(True))

    def interrupted(_frame: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(runtime_calls, "nearest_frame", interrupted)
    on_call(None, 1, STREAM_SYNCHRONIZE, 1)
    sensor._flush()

    assert handed == [True]
    assert len(list(recorder.syncs)) == 1


def test_two_threads_never_share_the_number_of_their_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(now_ns=lambda: 0)
    both_ask = threading.Barrier(2)

    class Slow(dict[tuple[str, ...], int]):
        """A table of names in which two threads see the same length before either adds its own."""

        def __len__(self) -> int:
            found = super().__len__()
            if not recorder._lock.locked():
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
