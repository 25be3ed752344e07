"""Answers: how does CUPTI call Python at each driver call? A subscription to chosen calls, through ctypes."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable

import torch

from syncwatch.errors import NotMeasuredError

_DRIVER_API = 1
"""CUPTI_CB_DOMAIN_DRIVER_API of cupti_callbacks.h; runtime calls arrive here too, as the driver calls they make."""
_MULTIPLE_SUBSCRIBERS = 39
"""CUPTI_ERROR_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED of cupti_result.h."""
_PARAMETERS_AT = 16
"""Where `functionParams` stands in `CUpti_CallbackData`: behind the call site and the function's name."""
_BYTES_AT = 16
"""Where `ByteCount` stands in the parameters of every linear copy: behind two pointers (generated_cuda_meta.h)."""


_CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32, ctypes.c_void_p)

OnCall = Callable[[object, int, int, int], None]
"""Called with two values that mean nothing here, the callback id, and the address of the call's data."""


class Subscription:
    """Calls `on_call` at the begin and the end of each driver call in `calls`, on the thread that makes it.

    CUPTI has one subscriber in a process. torch.profiler becomes it at its first use and stays it, and a torch.profiler
    that is first used inside a subscription sees no GPU for the rest of the process (torch 2.11 with CUDA 13.0).

    Raises:
        NotMeasuredError: if CUPTI is not there, or has a subscriber already.
    """

    def __init__(self, calls: Iterable[int], on_call: OnCall) -> None:
        self._library = _load()
        self._callback = _CALLBACK(on_call)
        self._handle = ctypes.c_void_p()
        status = self._library.cuptiSubscribe(ctypes.byref(self._handle), self._callback, None)
        if status == _MULTIPLE_SUBSCRIBERS:
            raise NotMeasuredError("CUPTI has a subscriber already: torch.profiler, nsys or another profiler.")
        if status:
            raise NotMeasuredError(f"CUPTI refused a subscriber (error {status}).")
        for call in calls:
            self._library.cuptiEnableCallback(1, self._handle, _DRIVER_API, call)

    def close(self) -> None:
        """End it; CUPTI is free again."""
        self._library.cuptiUnsubscribe(self._handle)


_int_at = ctypes.c_int.from_address
_pointer_at = ctypes.c_uint64.from_address


def returns(data: int) -> bool:
    """Return whether the call whose data lies at `data` returns; else it begins (`callbackSite`)."""
    return _int_at(data).value != 0


def copied_bytes(data: int) -> int:
    """Return how many bytes the copy call whose data lies at `data` moves."""
    return _pointer_at(_pointer_at(data + _PARAMETERS_AT).value + _BYTES_AT).value


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
