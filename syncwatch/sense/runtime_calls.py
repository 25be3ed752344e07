"""Answers: which line makes each driver call that can hold the host? CUPTI's callbacks, from any library."""

from __future__ import annotations

import _thread
import sys
import threading
import time
from types import FrameType

import torch

from syncwatch.errors import NotMeasuredError
from syncwatch.sense import active
from syncwatch.sense.cupti_callbacks import Subscription, copied_bytes
from syncwatch.sense.driver_calls import DRIVER_CALLS, DriverCall
from syncwatch.sense.nearest import asked_for, nearest_frame
from syncwatch.sense.recorder import Recorder


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

    def unavailable(self) -> str | None:
        """Return why it cannot run here, or None."""
        if not torch.cuda.is_available():
            return "no CUDA GPU: use --device virtual"
        try:
            Subscription((), lambda _call, _returns, _parameters: None).close()
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
        active.set_subscribed(True)

    def stop(self) -> None:
        """Unsubscribe."""
        if self._subscription is None:
            return
        self._recorder = None
        self._subscription.close()
        self._subscription = None
        active.set_subscribed(False)

    def _on_call(self, call: int, returns: bool, parameters: int) -> None:
        try:
            if not returns:
                self._begun[threading.get_ident()] = time.time_ns()
                return
            end = time.time_ns()
            recorder, begun = self._recorder, self._begun.pop(threading.get_ident(), None)
            if recorder is not None and begun is not None:
                frame = nearest_frame(sys._getframe(1).f_back)
                self._record(recorder, DRIVER_CALLS[call], parameters, frame, (begun, end))
        except KeyboardInterrupt:
            # An exception cannot leave a C callback: hand it to the main thread again.
            _thread.interrupt_main()

    def _record(
        self, recorder: Recorder, call: DriverCall, parameters: int, frame: FrameType | None, span: tuple[int, int]
    ) -> None:
        stack = None if frame is None else recorder.stack(frame)
        if call.direction is not None:
            recorder.copy_call(call.api, call.direction, copied_bytes(parameters), stack, span)
        if call.kind is not None:
            recorder.sync(
                call.kind,
                explicit=asked_for(frame),
                op=None,
                sensor=self.name,
                stack=stack,
                start_ns=span[0],
                end_ns=span[1],
                api=call.api,
            )
