"""Measures what a subscription to CUPTI adds to a launch, so that a gain can be one of the unwatched program."""

from __future__ import annotations

import ctypes
import time
from functools import cache

from syncwatch.errors import NotMeasuredError
from syncwatch.sense.cuda.cupti import Cupti

_LAUNCHES, _ROUNDS = 64, 4
_NON_BLOCKING = 1
"""CU_STREAM_NON_BLOCKING: a stream that waits for no other and lets none wait."""


@cache
def launch_cost_ns() -> int:
    """Return by how many ns watching makes a launch longer; 0 where it could not be measured, or is less than noise.

    Memsets of one byte in a stream of their own are timed with and without a subscription that records, in turn; the
    fastest round of each counts. It takes 3 ms once in a process, and needs a GPU that is in use.
    """
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    memory, stream = ctypes.c_uint64(), ctypes.c_void_p()
    if driver.cuMemAlloc_v2(ctypes.byref(memory), ctypes.c_size_t(1)):
        return 0
    try:
        if driver.cuStreamCreate(ctypes.byref(stream), _NON_BLOCKING):
            return 0
        try:
            return _measured(driver, memory, stream)
        finally:
            driver.cuStreamDestroy_v2(stream)
    finally:
        driver.cuMemFree_v2(memory)


def _measured(driver: ctypes.CDLL, memory: ctypes.c_uint64, stream: ctypes.c_void_p) -> int:
    plain, watched = [], []
    _launches(driver, memory, stream)
    for _ in range(_ROUNDS):
        plain.append(_launches(driver, memory, stream))
        try:
            cupti = Cupti(lambda *_: None, records=True)
        except NotMeasuredError:
            return 0
        try:
            watched.append(_launches(driver, memory, stream))
        finally:
            cupti.close()
            cupti.forget()
    return max(0, min(watched) - min(plain))


def _launches(driver: ctypes.CDLL, memory: ctypes.c_uint64, stream: ctypes.c_void_p) -> int:
    """Return the ns that one launch took of the host."""
    begin = time.perf_counter_ns()
    for _ in range(_LAUNCHES):
        driver.cuMemsetD8Async(memory, ctypes.c_ubyte(0), ctypes.c_size_t(1), stream)
    spent = time.perf_counter_ns() - begin
    driver.cuStreamSynchronize(stream)
    return spent // _LAUNCHES
