"""The sensor for driver calls that can hold the host: CUPTI's callbacks, from any library, with the line of each."""

from __future__ import annotations

import _thread
import sys
from threading import get_ident
from time import time_ns

import torch

from syncwatch.compat.cupti import copied_bytes, returns
from syncwatch.errors import NotMeasuredError
from syncwatch.model.events import Call, CopyEvent, SyncEvent, SyncKind
from syncwatch.sense import active
from syncwatch.sense.cuda.cupti_callbacks import OnCall, Subscription
from syncwatch.sense.cuda.driver_calls import DRIVER_CALLS, DriverCall
from syncwatch.sense.cuda.start import has_gpu
from syncwatch.sense.recorder import Recorder
from syncwatch.sense.stacks import is_explicit, nearest_frame

_Around = tuple["int | None", int, bool, "int | None", "str | None"]
"""What `Recorder.surroundings` gives."""
_Seen = tuple[DriverCall, _Around, "int | None", bool, int, int, int]
"""Call, surroundings, stack, whether it was asked for, bytes, begin and end in ns.

A bare tuple: a dataclass for each of the calls of a read would double what a read costs.
"""


_UNKNOWN = DriverCall("a driver call", SyncKind.STREAM)
"""Stands for a call that was not subscribed to, so that it counts as a wait without a line."""


class RuntimeCalls:
    """Subscribes to the driver calls that wait, copy or allocate, and takes the Python stack inside each.

    It sees what torch's hooks do not: solver libraries, Thrust, C++ extensions, CuPy, ctypes. A launch costs the same
    with it and without (5.8 and 6.0 us on an H200).
    """

    name = "runtime_calls"
    sees = "every wait, copy and allocation that reaches the driver, from any library, with its line and time"
    blind_to: tuple[str, ...] = ("what the GPU did meanwhile",)

    def __init__(self, failures: list[str] | None = None) -> None:
        """`failures` takes what goes wrong while a call is looked at; that call is recorded without a line."""
        self._recorder: Recorder | None = None
        self._subscription: Subscription | None = None
        self._seen: list[_Seen] = []
        self._failures = [] if failures is None else failures

    def unavailable(self) -> str | None:
        """Return why it cannot run here, or None."""
        if not has_gpu():
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
        self._subscription = Subscription(DRIVER_CALLS, self._handler(recorder))
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

    def _handler(self, recorder: Recorder) -> OnCall:
        """Return what CUPTI calls at both ends of each call; a closure, as attribute look-ups would cost a third."""
        begun: dict[int, int] = {}
        copied: dict[int, tuple[int, int, int | None, _Around]] = {}
        calls, seen, failures = DRIVER_CALLS, self._seen, self._failures

        def on_call(_user: object, _domain: int, number: int, data: int) -> None:
            ended = False
            try:
                ident = get_ident()
                if not returns(data):
                    begun[ident] = time_ns()
                    return
                ended = True
                end = time_ns()
                start = begun.pop(ident, end)
                call = calls[number]
                frame = nearest_frame(sys._getframe().f_back)
                last = copied.pop(ident, None)
                if frame is None:
                    stack, around = None, recorder.surroundings()
                elif last is not None and last[0] == id(frame) and last[1] == frame.f_lasti:
                    # A read copies and then waits at one instruction.
                    stack, around = last[2], last[3]
                else:
                    stack, around = recorder.stack(frame), recorder.surroundings()
                if call.kind is None:
                    if frame is not None:
                        copied[ident] = (id(frame), frame.f_lasti, stack, around)
                    seen.append((call, around, stack, False, copied_bytes(data), start, end))
                else:
                    seen.append((call, around, stack, is_explicit(frame), 0, start, end))
            except KeyboardInterrupt:
                # An exception cannot leave a C callback: hand it to the main thread again.
                _thread.interrupt_main()
                if ended:
                    keep(number)
            except BaseException as error:
                failures.append(f"{type(error).__name__}: {error}")
                if ended:
                    keep(number)

        def keep(number: int) -> None:
            """Record the call without a line, so that it is not lost."""
            now, around = time_ns(), (None, recorder.thread(), False, None, None)
            seen.append((calls.get(number, _UNKNOWN), around, None, False, 0, now, now))

        return on_call

    def _flush(self) -> None:
        """Turn what was seen into events."""
        recorder, seen = self._recorder, self._seen
        if recorder is None:
            return
        count = len(seen)
        for each in seen[:count]:
            if each[0].kind is None:
                recorder.copies.append(_copy(each))
            else:
                recorder.syncs.append(_sync(each, each[0].kind))
        del seen[:count]


def _sync(seen: _Seen, kind: SyncKind) -> SyncEvent:
    call, (step, thread, pacing, within, allowed), stack, explicit, _, start, end = seen
    return SyncEvent(
        step=step,
        thread=thread,
        kind=kind,
        explicit=explicit,
        op=None,
        stack=stack,
        stream=None,
        start_ns=start,
        end_ns=end,
        pacing=pacing,
        seen_by=(RuntimeCalls.name,),
        api=call.api,
        within=within,
        allowed=allowed,
    )


def _copy(seen: _Seen) -> CopyEvent:
    call, (step, thread, *_), stack, _, size, start, end = seen
    assert call.direction is not None
    return CopyEvent(
        step=step,
        thread=thread,
        direction=call.direction,
        memory=None,
        bytes=size,
        blocking=None,
        op=None,
        stack=stack,
        stream=None,
        start_ns=None,
        end_ns=None,
        call=Call(thread, call.api, start, end),
    )
