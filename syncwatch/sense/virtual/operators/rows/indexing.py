"""The indexing that makes the host wait: masks on the device, and indices that lie on the host."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from syncwatch.sense.virtual.operators.table import (
    OpCall,
    RuntimeCall,
    WaitReason,
    blocks,
    on_device,
    read,
    upload,
    upload_pinned,
)

_MASKS = (torch.bool, torch.uint8)


@blocks(
    "aten.index",
    "aten._unsafe_index",
    reason=WaitReason.SIZE,
    why="turns a mask into indices with `nonzero`; indices on the host are uploaded.",
    by_form=True,
)
def load(call: OpCall) -> Sequence[RuntimeCall]:
    """Return what each index needs."""
    return _index_calls(call)


@blocks(
    "aten.index_put",
    "aten.index_put_",
    "aten._index_put_impl_",
    "aten._unsafe_index_put",
    reason=WaitReason.SIZE,
    why="turns a mask into indices with `nonzero` (not for one number, `masked_fill_`); numbers are uploaded.",
    by_form=True,
)
def store(call: OpCall) -> Sequence[RuntimeCall]:
    """Return what each index needs."""
    if _is_masked_fill(call):
        return ()
    values = call.tensor("values")
    number = call.resident("self") and not on_device(values) and values.numel() == 1
    return [*_index_calls(call), *([upload(values.element_size())] if number else [])]


def _is_masked_fill(call: OpCall) -> bool:
    """Follow `canDispatchToMaskedFill`: one value that lies on the host, one mask, no accumulation."""
    values = call.tensor("values")
    given = [index for index in call.get("indices") if index is not None]
    return (
        values.numel() == 1
        and not on_device(values)
        and not call.get("accumulate", False)
        and len(given) == 1
        and given[0].dtype in _MASKS
        and on_device(given[0])
    )


def _index_calls(call: OpCall) -> Sequence[RuntimeCall]:
    if not call.resident("self"):
        return _host_calls(call)
    calls: list[RuntimeCall] = []
    for index in call.get("indices"):
        if index is None:
            continue
        mask, there = index.dtype in _MASKS, on_device(index)
        if mask and there:
            calls.append(read(8))
        elif mask:
            # The host counts its own mask; the indices travel through pinned memory (pytorch #156384, from 2.9).
            count = int(index.count_nonzero())
            calls += [upload_pinned(8 * count)] * (index.dim() if count else 0)
        elif not there and index.numel():
            calls.append(upload(8 * index.numel()))
    return calls


def _host_calls(call: OpCall) -> Sequence[RuntimeCall]:
    """Return nothing for indices on the host.

    Raises:
        RuntimeError: for an index on the device, as CUDA does.
    """
    if any(index is not None and on_device(index) for index in call.get("indices")):
        raise RuntimeError("indices should be either on cpu or on the same device as the indexed tensor (cpu)")
    return ()
