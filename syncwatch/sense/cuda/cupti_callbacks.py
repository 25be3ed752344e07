"""A subscription to chosen driver calls: CUPTI calls Python at the begin and the end of each, through ctypes."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable

import torch

from syncwatch.compat.cupti import CALLBACK, DRIVER_API, MULTIPLE_SUBSCRIBERS
from syncwatch.errors import NotMeasuredError

_NEWER = frozenset({800})
"""cuCtxSynchronize_v2 came with CUDA 13: an older CUPTI refuses its number, and no library there calls it."""

OnCall = Callable[[object, int, int, int], None]
"""Called with two values that mean nothing here, the callback id, and the address of the call's data."""


class Subscription:
    """Calls `on_call` at the begin and the end of each driver call in `calls`, on the thread that makes it.

    CUPTI has one subscriber in a process. torch.profiler becomes it at its first use and stays it, and a torch.profiler
    that is first used inside a subscription sees no GPU for the rest of the process (torch 2.11 with CUDA 13.0).

    Raises:
        NotMeasuredError: if CUPTI is not there, has a subscriber already, or does not know one of the calls.
    """

    def __init__(self, calls: Iterable[int], on_call: OnCall) -> None:
        self._library = _load()
        self._callback = CALLBACK(on_call)
        self._handle = ctypes.c_void_p()
        status = self._library.cuptiSubscribe(ctypes.byref(self._handle), self._callback, None)
        if status == MULTIPLE_SUBSCRIBERS:
            raise NotMeasuredError("CUPTI has a subscriber already: torch.profiler, nsys or another profiler.")
        if status:
            raise NotMeasuredError(f"CUPTI refused a subscriber (error {status}).")
        self._enable(calls)

    def _enable(self, calls: Iterable[int]) -> None:
        for call in calls:
            status = self._library.cuptiEnableCallback(1, self._handle, DRIVER_API, call)
            if status and call not in _NEWER:
                self.close()
                # Without it every wait of this call would be missing, and nobody would know.
                raise NotMeasuredError(
                    f"CUPTI does not tell of the driver call with callback id {call} (error {status}), so waits in it "
                    "would not be seen. Update syncwatch, or say which driver this is in a report."
                )

    def close(self) -> None:
        """End it; CUPTI is free again."""
        self._library.cuptiUnsubscribe(self._handle)


def _load() -> ctypes.CDLL:
    """Return the CUPTI that torch has loaded."""
    version = torch.version.cuda
    if version is None:
        raise NotMeasuredError("This torch was built without CUDA.")
    name = f"libcupti.so.{version.partition('.')[0]}"
    try:
        return ctypes.CDLL(name)
    except OSError as error:
        raise NotMeasuredError(f"{name} cannot be loaded ({error}).") from error
