"""The waits in a softmax of a sparse tensor. Thrust groups its elements, and waits at each stage.

Read from `ATen/native/sparse/cuda/SoftMax.cu` of torch 2.12, with the counts that an H200 showed.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from syncwatch.model.events import Direction, HostMemory
from syncwatch.sense.virtual.operators.rows.sparse import along_indices, coalescing
from syncwatch.sense.virtual.operators.table import OpCall, Reason, blocks
from syncwatch.sense.virtual.operators.waits_and_copies import WAIT, RuntimeCall, read, read_pageable

_COUNT = 8


@blocks(
    "aten._sparse_softmax",
    "aten._sparse_log_softmax",
    reason=Reason.SIZE,
    why="groups the elements with Thrust, which waits at each stage.",
)
def softmax(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the waits of the stages; along a dense dimension there are none."""
    values = call.tensor("self")
    before = coalescing(values)
    if not values.numel() or not along_indices(call.get("dim"), values):
        return before
    return (*before, *_offsets(values), *_groups(), WAIT)


@blocks(
    "aten._sparse_softmax_backward_data",
    "aten._sparse_log_softmax_backward_data",
    reason=Reason.SIZE,
    why="matches and groups the elements with Thrust, which waits at each stage.",
)
def softmax_backward(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the waits of the stages; along a dense dimension, the indices are compared."""
    grad, output = call.tensor("grad_output"), call.tensor("output")
    before = (*coalescing(grad), *coalescing(output))
    if not output.numel():
        return before
    before = (*before, *_offsets(output), *_offsets(grad))
    if not along_indices(call.get("dim"), output):
        return (*before, *_matching(grad, output))
    return (*before, WAIT, *_offsets(output), *_groups())


def _matching(grad: torch.Tensor, output: torch.Tensor) -> Sequence[RuntimeCall]:
    """Return the read of whether both store the same indices; those that do not are matched on the host."""
    same_size = output._nnz() == grad._nnz()
    verdict = (read(1),) if same_size else ()
    if same_size and torch.equal(output._indices().cpu(), grad._indices().cpu()):
        return verdict
    return (*verdict, read_pageable(_COUNT * output._nnz()), read_pageable(_COUNT * grad._nnz()))


def _offsets(tensor: torch.Tensor) -> Sequence[RuntimeCall]:
    """Strides are sent from ordinary memory, which nobody waits for by name."""
    return RuntimeCall(Direction.H2D, HostMemory.PAGEABLE, 8 * tensor.sparse_dim(), None), WAIT


def _groups() -> Sequence[RuntimeCall]:
    """Numbers, a sort, the size of each group (how many is read), and their sums."""
    return WAIT, WAIT, WAIT, read_pageable(_COUNT), WAIT
