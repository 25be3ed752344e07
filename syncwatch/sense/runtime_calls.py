"""Answers: which line makes each driver call that can hold the host? CUPTI's callbacks, from any library."""

from __future__ import annotations

import _thread
import sys
from threading import get_ident
from time import time_ns
from typing import NamedTuple

import torch

from syncwatch.errors import NotMeasuredError
from syncwatch.model.events import Call, CopyEvent, SyncEvent
from syncwatch.sense import active
from syncwatch.sense.cupti_callbacks import Subscription, copied_bytes, returns
from syncwatch.sense.driver_calls import DRIVER_CALLS, DriverCall
from syncwatch.sense.nearest import asked_for, nearest_frame
from syncwatch.sense.recorder import Recorder, Surroundings


class _Seen(NamedTuple):
    """One call, as cheap to note as can be; it becomes an event when the recording is frozen."""

    call: DriverCall
    surroundings: Surroundings
    stack: int | None
    explicit: bool
    size: int
    start_ns: int
    end_ns: int


class RuntimeCalls:
    """Subscribes to the driver calls that wait, copy or allocate, and takes the Python stack inside each.

    It sees what torch's hooks do not: solver libraries, Thrust, C++ extensions, CuPy, ctypes. A launch costs the same
    with it and without (5.8 and 6.0 us on an H200).
    """

    name = "runtime_calls"
    sees = "every wait, copy and allocation that reaches the driver, from any library, with its line and time"
    blind_to: tuple[str, ...] = ("what the GPU did meanwhile",)

    def __init__(self) -> None:
        self._recorder: Recorder | None = None
        self._subscription: Subscription | None = None
        self._begun: dict[int, int] = {}
        self._last: dict[int, tuple[int, int, int | None]] = {}
        """By thread: frame, instruction and stack of its last call; a read copies and waits at one instruction."""
        self._seen: list[_Seen] = []

    def unavailable(self) -> str | None:
        """Return why it cannot run here, or None."""
        if not torch.cuda.is_available():
            return "no CUDA GPU: use --device virtual"
        try:
            Subscription((), lambda *_: None).close()
        except NotMeasuredError as error:
            return str(error)
        return None

    def start(self, recorder: Recorder) -> None:
        """Subscribe.

        Raises:
            NotMeasuredError: if CUPTI has a subscriber already.
        """
        # Without a context CUPTI subscribes to nothing.
        torch.cuda.init()
        self._subscription = Subscription(DRIVER_CALLS, self._on_call)
        self._recorder = recorder
        recorder.sources.append(self._flush)
        active.set_subscribed(True)

    def stop(self) -> None:
        """Unsubscribe."""
        if self._subscription is None:
            return
        self._subscription.close()
        self._subscription = None
        self._flush()
        self._recorder = None
        active.set_subscribed(False)

    def _on_call(self, _user: object, _domain: int, call: int, data: int) -> None:
        try:
            ident = get_ident()
            if not returns(data):
                self._begun[ident] = time_ns()
                return
            end = time_ns()
            begun = self._begun.pop(ident, None)
            if begun is not None:
                self._note(DRIVER_CALLS[call], ident, data, begun, end)
        except KeyboardInterrupt:
            # An exception cannot leave a C callback: hand it to the main thread again.
            _thread.interrupt_main()

    def _note(self, call: DriverCall, ident: int, data: int, begun: int, end: int) -> None:
        recorder = self._recorder
        if recorder is None:
            return
        frame = nearest_frame(sys._getframe(2).f_back)
        stack = None
        if frame is not None:
            at, last = (id(frame), frame.f_lasti), self._last.get(ident)
            stack = last[2] if last is not None and last[:2] == at else recorder.stack(frame)
            self._last[ident] = (*at, stack)
        size = 0 if call.direction is None else copied_bytes(data)
        self._seen.append(_Seen(call, recorder.surroundings(), stack, asked_for(frame), size, begun, end))

    def _flush(self) -> None:
        """Turn what was seen into events."""
        recorder = self._recorder
        if recorder is None:
            return
        seen, self._seen = self._seen, []
        for each in seen:
            if each.call.direction is not None:
                recorder.copies.append(_copy(each))
            if each.call.kind is not None:
                recorder.syncs.append(_sync(each))


def _sync(seen: _Seen) -> SyncEvent:
    call, around = seen.call, seen.surroundings
    assert call.kind is not None
    return SyncEvent(
        step=around.step,
        thread=around.thread,
        kind=call.kind,
        explicit=seen.explicit,
        op=None,
        stack=seen.stack,
        stream=None,
        start_ns=seen.start_ns,
        end_ns=seen.end_ns,
        pacing=around.pacing,
        seen_by=(RuntimeCalls.name,),
        api=call.api,
        within=around.within,
        allowed=around.allowed,
    )


def _copy(seen: _Seen) -> CopyEvent:
    around = seen.surroundings
    assert seen.call.direction is not None
    return CopyEvent(
        step=around.step,
        thread=around.thread,
        direction=seen.call.direction,
        memory=None,
        bytes=seen.size,
        blocking=None,
        op=None,
        stack=seen.stack,
        stream=None,
        start_ns=None,
        end_ns=None,
        call=Call(around.thread, seen.call.api, seen.start_ns, seen.end_ns),
    )
