"""The sorting and searching that waits, where the host looks at positions, or Thrust does the work."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from syncwatch.model.events import Direction, HostMemory
from syncwatch.sense.virtual.operators.table import OpCall, Reason, blocks
from syncwatch.sense.virtual.operators.waits_and_copies import WAIT, RuntimeCall, read, read_pageable, upload

_INDEX = 8
_FUSED = 2048
"""The longest slice that one block of threads takes (`2 * MAX_BLOCK_SIZE` in `TensorModeKernel.cpp`)."""


@blocks("aten.searchsorted", reason=Reason.CHECK, why="checks the smallest and the largest index of a `sorter`.")
def searchsorted(call: OpCall) -> Sequence[RuntimeCall]:
    """Return both reads, where a `sorter` is given (`searchsorted_pre_check`)."""
    given = call.resident("sorter") and call.tensor("sorter").numel()
    return (read(_INDEX), read(_INDEX)) if given else ()


@blocks("aten.mode", reason=Reason.SOLVER, why="sorts and counts slices of more than 2,048 elements with Thrust.")
def mode(call: OpCall) -> Sequence[RuntimeCall]:
    """Return what each slice does: 13 waits, for booleans 5.

    For 2,049 elements it is 15: both sorts are copied back. For 2,500 to 70,000 it was 13; between was not measured.
    """
    values = call.tensor("self")
    if not values.dim() or not values.numel():
        return ()
    length = values.shape[call.get("dim", -1)]
    if length <= _FUSED:
        return ()
    each = _booleans() if values.dtype is torch.bool else _numbers(values.element_size())
    copied_back = (WAIT, WAIT) if length == _FUSED + 1 and values.dtype is not torch.bool else ()
    return [*copied_back, *each, *_results(values.element_size())] * (values.numel() // length)


def _numbers(size: int) -> Sequence[RuntimeCall]:
    """Numbering, sorting; then distinct values, their counts, the largest, its value, its place, its index are read."""
    count = (WAIT, read_pageable(4))
    return (
        *(WAIT, WAIT),
        *count,
        *count,
        *(WAIT, read_pageable(16)),
        read_pageable(size),
        *(WAIT, read_pageable(_INDEX)),
        read_pageable(_INDEX),
    )


def _booleans() -> Sequence[RuntimeCall]:
    """How many are true, and where the first of the more frequent lies."""
    return WAIT, read_pageable(_INDEX), WAIT, read_pageable(_INDEX)


def _results(size: int) -> Sequence[RuntimeCall]:
    """Both results are uploaded, and only the second is waited for."""
    return RuntimeCall(Direction.H2D, HostMemory.PAGEABLE, size, None), upload(_INDEX)
