"""The operators on nested tensors that wait: those that are given sizes by the device, or send theirs."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from syncwatch.model.events import Direction, HostMemory
from syncwatch.sense.virtual.operators.table import OpCall, RuntimeCall, WaitReason, blocks, read, read_pageable, upload

_MOST_DIMENSIONS = 4
_PADDED_TYPES = (torch.float32, torch.float64, torch.float16)


@blocks(
    "aten._nested_tensor_from_mask_left_aligned",
    reason=WaitReason.CHECK,
    why="compares the lengths of the mask with where it ends.",
)
def left_aligned(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the read of the verdict."""
    return (read(1),) if call.tensor("mask").shape[0] else ()


@blocks(
    "aten._nested_tensor_from_mask",
    reason=WaitReason.SIZE,
    why="reads the lengths of the mask, after it has checked them.",
)
def from_mask(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the read of the verdict, and of two sizes for each sequence."""
    rows = call.tensor("mask").shape[0]
    if not rows:
        return ()
    checked = (read(1),) if call.get("mask_check", True) else ()
    return (*checked, read_pageable(16 * rows))


@blocks("aten.to_padded_tensor", reason=WaitReason.UPLOAD, why="uploads sizes and offsets for the kernel.")
def to_padded(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the upload; `NestedTensor_to_padded_tensor_cuda` has a kernel for up to four dimensions of these types."""
    nested = call.tensor("self")
    if not nested.is_nested or nested.dim() > _MOST_DIMENSIONS or nested.dtype not in _PADDED_TYPES:
        return ()
    rows = nested._nested_tensor_size().shape[0]
    return (upload(4 * (nested._nested_tensor_size().numel() + rows + 1)),)


@blocks("aten._nested_from_padded", reason=WaitReason.UPLOAD, why="uploads the sizes, or selects elements by a mask.")
def from_padded(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the upload for the kernel of float32 and float16, else the read of how many elements there are."""
    padded, sizes = call.tensor("padded"), call.tensor("cpu_nested_shape_example")
    dims = 4 if call.get("fuse_transform_0213", False) else 3
    if padded.dim() != dims or padded.dtype not in (torch.float32, torch.float16):
        return (read(8),)
    size = 4 * (sizes.numel() + padded.dim() + sizes.shape[0])
    return (RuntimeCall(Direction.H2D, HostMemory.PAGEABLE, size, None),)


@blocks(
    "aten._padded_dense_to_jagged_forward",
    reason=WaitReason.SIZE,
    why="reads the last offset, unless the total length is given.",
)
def to_jagged(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the read of the offset."""
    if call.get("total_L") is not None:
        return ()
    return (read(call.get("offsets")[-1].element_size()),)
