"""Measures what a subscription to CUPTI adds to a launch, so that a gain can be one of the unwatched program."""

from __future__ import annotations

import time
from functools import cache
from statistics import median_low

import torch

from syncwatch.compat.torch_cuda import devices_in_use, spin
from syncwatch.errors import NotMeasuredError
from syncwatch.sense.cuda.cupti import Cupti

_LAUNCHES, _FIRST, _ROUNDS = 96, 32, 3
_LONGEST_NS = 4_000
"""More is noise of the host: 0.1 to 1.5 us were measured on an H200."""


@cache
def launch_cost_ns() -> int:
    """Return by how many ns watching makes a launch longer; 0 where it could not be measured, or is less than noise.

    Kernels that do nothing are launched with and without a subscription that records, in turn. The first launches of
    each round count for nothing, since CUPTI makes its buffers in them. It takes 5 ms once in a process, on a GPU that
    is in use.
    """
    device = next(iter(devices_in_use()), None)
    if device is None:
        return 0
    with torch.cuda.device(device):
        plain, watched = [], []
        for _ in range(_ROUNDS):
            plain += _launches()
            try:
                cupti = Cupti(lambda *_: None, records=True)
            except NotMeasuredError:
                return 0
            try:
                watched += _launches()
            finally:
                cupti.close()
                cupti.forget()
    return min(max(0, median_low(watched) - median_low(plain)), _LONGEST_NS)


def _launches() -> list[int]:
    """Return the ns that each of some launches took of the host."""
    spent = []
    for _ in range(_LAUNCHES):
        begin = time.perf_counter_ns()
        spin(1)
        spent.append(time.perf_counter_ns() - begin)
    torch.cuda.current_stream().synchronize()
    return spent[_FIRST:]
