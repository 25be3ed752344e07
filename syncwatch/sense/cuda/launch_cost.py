"""Measures what a subscription to CUPTI adds to a launch, so that a gain can be one of the unwatched program."""

from __future__ import annotations

import time
from functools import cache
from statistics import median, median_low

import torch

from syncwatch.compat.torch_cuda import devices_in_use
from syncwatch.errors import NotMeasuredError
from syncwatch.sense.cuda.cupti import Cupti

_GROUPS, _FIRST, _ROUNDS, _LAUNCHES = 32, 8, 5, 4
_LONGEST_NS = 2_000
"""More is noise of the host: 0.6 to 1.6 us were measured on an H200, by how fast its host was."""


@cache
def launch_cost_ns() -> int:
    """Return by how many ns watching makes a launch longer; 0 where that could not be measured.

    Four different operators on a few numbers are launched with and without a subscription that records, in turn: one
    kernel again and again would stay in the host's caches, where watching costs half as much. The first of each round
    count for nothing, since CUPTI makes its buffers in them. It takes 20 ms once in a process, on a GPU that is in use.
    """
    device = next(iter(devices_in_use()), None)
    if device is None:
        return 0
    added = []
    with torch.no_grad(), torch.cuda.device(device):
        numbers = torch.zeros(16, device="cuda")
        _launches(numbers)
        for _ in range(_ROUNDS):
            plain = _launches(numbers)
            try:
                cupti = Cupti(lambda *_: None, records=True)
            except NotMeasuredError:
                return 0
            try:
                added.append(_launches(numbers) - plain)
            finally:
                cupti.close()
                cupti.forget()
    return min(max(0, round(median(added))), _LONGEST_NS)


def _launches(numbers: torch.Tensor) -> int:
    """Return the ns that a launch took of the host, the median of some groups."""
    spent = []
    for _ in range(_GROUPS):
        begin = time.perf_counter_ns()
        numbers.add_(1)
        numbers.neg_()
        numbers.mul_(2)
        numbers.zero_()
        spent.append(time.perf_counter_ns() - begin)
    torch.cuda.current_stream().synchronize()
    return median_low(spent[_FIRST:]) // _LAUNCHES
