"""The operators that wait because the size of their output depends on the values, and the sorting that waits."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from syncwatch.model.events import Direction, HostMemory
from syncwatch.sense.virtual.operators.table import (
    WAIT,
    OpCall,
    RuntimeCall,
    WaitReason,
    blocks,
    read,
    read_pageable,
    upload,
)

_COUNT = 8


@blocks(
    "aten.nonzero",
    "aten.masked_select",
    reason=WaitReason.SIZE,
    why="counts on the device and reads the count to allocate the output.",
)
def counted(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the read of the count; it happens for empty inputs too."""
    return (read(_COUNT),)


@blocks(
    "aten._unique",
    "aten._unique2",
    "aten.unique_consecutive",
    reason=WaitReason.SIZE,
    why="reads how many distinct values there are.",
)
def unique(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the read of the number; booleans have a kernel of their own that reads into pageable memory.

    `unique_consecutive` along a dimension is `unique_dim_consecutive`.
    """
    values = call.tensor("self")
    if call.get("dim") is not None:
        return unique_dim(OpCall("aten.unique_dim_consecutive", call.args, call.kwargs, call.positions))
    if values.numel() == 0:
        return ()
    pageable = values.dtype is torch.bool and call.name in ("aten._unique", "aten._unique2")
    return (read_pageable(_COUNT),) if pageable else (read(_COUNT),)


@blocks(
    "aten.unique_dim", "aten.unique_dim_consecutive", reason=WaitReason.SIZE, why="sorts rows with Thrust, which waits."
)
def unique_dim(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the waits of the sort, the inverse and the counts, and the read of the number (`compute_unique`)."""
    if not call.tensor("self").numel():
        return ()
    sort = () if call.name.endswith("consecutive") else (WAIT,)
    inverse = (WAIT, WAIT, WAIT) if call.get("return_inverse", False) else ()
    counts = (WAIT,) if call.get("return_counts", False) else ()
    return (*sort, *inverse, WAIT, read_pageable(_COUNT), *counts)


@blocks(
    "aten.repeat_interleave",
    reason=WaitReason.SIZE,
    why="reads the sum of the repeats, and whether all are at least zero.",
)
def repeat_interleave(call: OpCall) -> Sequence[RuntimeCall]:
    """Return both reads, unless `output_size` says the sum."""
    repeats = call.tensor("repeats")
    if call.get("output_size") is not None or repeats.numel() == 0:
        return ()
    return read(repeats.element_size()), read(1)


@blocks(
    "aten._grouped_mm", reason=WaitReason.SIZE, why="reads the offsets, unless all is bfloat16 (a kernel of its own)."
)
def grouped_mm(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the read of the offsets that the loop over groups needs."""
    offsets = call.get("offs")
    types = {call.tensor("self").dtype, call.tensor("mat2").dtype, call.get("out_dtype") or torch.bfloat16}
    if offsets is None or not offsets.numel() or types == {torch.bfloat16}:
        return ()
    return (read_pageable(offsets.numel() * offsets.element_size()),)


@blocks(
    "aten.bincount", reason=WaitReason.SIZE, why="reads the smallest value to refuse it, and the largest for the size."
)
def bincount(call: OpCall) -> Sequence[RuntimeCall]:
    """Return both reads; bytes cannot be negative."""
    values = call.tensor("self")
    if values.numel() == 0:
        return ()
    largest = read(values.element_size())
    return (largest,) if values.dtype is torch.uint8 else (read_pageable(values.element_size()), largest)


@blocks("aten.histc", reason=WaitReason.RANGE, why="reads the smallest and largest value where no range is given.")
def histc(call: OpCall) -> Sequence[RuntimeCall]:
    """Return both reads, unless a range was given."""
    values = call.tensor("self")
    if values.numel() == 0 or call.get("min", 0) != call.get("max", 0):
        return ()
    return (read_pageable(values.element_size()),) * 2


@blocks(
    "aten.isin",
    reason=WaitReason.SIZE,
    why="sorts many test elements after `unique`, and stores a number by index.",
    by_form=True,
)
def isin(call: OpCall) -> Sequence[RuntimeCall]:
    """Return what the sorting way does; few test elements are compared directly."""
    elements, tests = call.get("elements"), call.get("test_elements")
    if not (isinstance(elements, torch.Tensor) and isinstance(tests, torch.Tensor)):
        return ()
    if elements.numel() == 0 or tests.numel() < int(10.0 * elements.numel() ** 0.145):
        return ()
    uniques = () if call.get("assume_unique", False) else (read(_COUNT), read(_COUNT))
    return (*uniques, upload(1))


_INDEX = 8
_FUSED = 2048
"""The longest slice that one block of threads takes (`2 * MAX_BLOCK_SIZE` in `TensorModeKernel.cpp`)."""


@blocks("aten.searchsorted", reason=WaitReason.CHECK, why="checks the smallest and the largest index of a `sorter`.")
def searchsorted(call: OpCall) -> Sequence[RuntimeCall]:
    """Return both reads, where a `sorter` is given (`searchsorted_pre_check`)."""
    given = call.resident("sorter") and call.tensor("sorter").numel()
    return (read(_INDEX), read(_INDEX)) if given else ()


@blocks("aten.mode", reason=WaitReason.SOLVER, why="sorts and counts slices of more than 2,048 elements with Thrust.")
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
