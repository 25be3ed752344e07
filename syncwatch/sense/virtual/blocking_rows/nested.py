"""Answers: which operators on nested tensors wait? Those that are given sizes by the device, or send theirs."""

from __future__ import annotations

from collections.abc import Sequence

from syncwatch.sense.virtual.blocking_ops import OpCall, Reason, blocks
from syncwatch.sense.virtual.runtime_calls import RuntimeCall, read, read_pageable


@blocks(
    "aten._nested_tensor_from_mask_left_aligned",
    reason=Reason.CHECK,
    why="compares the lengths of the mask with where it ends.",
)
def left_aligned(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the read of the verdict."""
    return (read(1),) if call.tensor("mask").shape[0] else ()


@blocks(
    "aten._nested_tensor_from_mask", reason=Reason.SIZE, why="reads the lengths of the mask, after it has checked them."
)
def from_mask(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the read of the verdict, and of two sizes for each sequence."""
    rows = call.tensor("mask").shape[0]
    if not rows:
        return ()
    checked = (read(1),) if call.get("mask_check", True) else ()
    return (*checked, read_pageable(16 * rows))


@blocks(
    "aten._padded_dense_to_jagged_forward",
    reason=Reason.SIZE,
    why="reads the last offset, unless the total length is given.",
)
def to_jagged(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the read of the offset."""
    if call.get("total_L") is not None:
        return ()
    return (read(call.get("offsets")[-1].element_size()),)
