"""Holds CUPTI's layouts against a kernel, a copy and a wait of our own, before its records are trusted."""

from __future__ import annotations

import ctypes
import time
from functools import cache

import torch

from syncwatch.compat.cupti import CopyWay
from syncwatch.compat.torch_cuda import devices_in_use, spin
from syncwatch.errors import NotMeasuredError
from syncwatch.sense.cuda.cupti import Cupti, Records

_BYTES = 12
"""An odd size, so that nothing else is taken for it."""
_SPIN_CYCLES = 1000
_SLACK_NS = 1_000_000
"""How far the clocks of the GPU and the host may be apart here."""


def check() -> None:
    """Subscribe for a moment, and compare what is recorded with what was done.

    Raises:
        NotMeasuredError: if CUPTI is taken, or if a record does not tell what was done.
    """
    outcome = _outcome()
    if outcome is not None:
        raise NotMeasuredError(outcome)


@cache
def _outcome() -> str | None:
    calls: list[tuple[int, int]] = []
    begin = time.time_ns()
    cupti = Cupti(lambda number, identity, *_: calls.append((number, identity)), records=True)
    try:
        # The thread that begins a window is none of the program's, and would make a context on the first GPU.
        with torch.cuda.device(next(iter(devices_in_use()), -1)):
            _work()
    finally:
        cupti.close()
    end = time.time_ns()
    wrong = _wrong(cupti.records((), cupti.ahead_ns()), {identity for _, identity in calls}, begin, end)
    if wrong is None:
        return None
    return (
        f"CUPTI's records are not laid out as this syncwatch knows them ({wrong}), so no time of it can be trusted. "
        f"Update syncwatch, or report it with torch {torch.__version__} and the driver's version."
    )


def _work() -> None:
    """Run one kernel, copy `_BYTES` from the GPU, and wait for both."""
    driver = ctypes.CDLL("libcuda.so.1")
    device, host = ctypes.c_uint64(), (ctypes.c_char * _BYTES)()
    torch.cuda.current_stream().synchronize()
    spin(_SPIN_CYCLES)
    if driver.cuMemAlloc_v2(ctypes.byref(device), ctypes.c_size_t(_BYTES)):
        raise NotMeasuredError("The driver gave no memory to try CUPTI with. Free some, and run again.")
    driver.cuMemcpyDtoHAsync_v2(host, device, ctypes.c_size_t(_BYTES), None)
    driver.cuStreamSynchronize(None)
    driver.cuMemFree_v2(device)
    torch.cuda.current_stream().synchronize()


def _wrong(records: Records, calls: set[int], begin: int, end: int) -> str | None:
    """Return what does not fit, None where all does."""
    window = range(begin - _SLACK_NS, end + _SLACK_NS)
    if len(records.kernels) != 6 or records.kernels_alone or records.launches != 1:
        return f"{len(records.kernels) // 6} kernels of one, {records.kernels_alone} without their launch"
    if any(moment not in window for moment in records.kernels[2:]):
        return "a kernel at another time"
    if len(records.copies) != 1 or records.copies[0].id not in calls:
        return f"{len(records.copies)} copies of one, or not that which was asked for"
    copy = records.copies[0]
    if copy.bytes != _BYTES or copy.way != CopyWay.DEVICE_TO_HOST or copy.start_ns not in window:
        return f"a copy of {copy.bytes} bytes instead of {_BYTES}, another way or at another time"
    if not calls & records.waits.keys():
        return "no wait with its call"
    return None
