"""The changes between sparse layouts that wait, and the softmax of a sparse tensor.

Read from the sources of torch 2.12 (`TensorConversions.cpp`, `SparseCsrTensor.cpp`, `sparse/cuda/SoftMax.cu`), and
measured on an H200. In a softmax Thrust groups the elements, and waits at each stage.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from syncwatch.model.events import Direction, HostMemory
from syncwatch.sense.virtual.operators.rows.sparse import COALESCING, COMPRESSED, along_indices, coalescing
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
    "aten._to_sparse",
    "aten._to_sparse_csr",
    "aten._to_sparse_csc",
    "aten._to_sparse_bsr",
    "aten._to_sparse_bsc",
    reason=WaitReason.SIZE,
    why="reads how many elements the sparse tensor holds.",
)
def to_sparse(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the reads; from one sparse layout to another they are others, or none."""
    values = call.tensor("self")
    if values.layout is torch.sparse_coo:
        return _from_coo(call.name, values)
    if values.layout in COMPRESSED:
        return _from_compressed(call.name, values)
    if call.name != "aten._to_sparse":
        return read(_COUNT), read(_COUNT)
    if call.get("sparse_dim") in (None, values.dim()):
        return (read(_COUNT),)
    # `nonzero`, then `unique_dim` of its rows, which has nothing to do where all are zero.
    distinct = (WAIT, WAIT, read_pageable(_COUNT)) if bool(values.any()) else ()
    return (read(_COUNT), *distinct)


def _from_coo(name: str, values: torch.Tensor) -> Sequence[RuntimeCall]:
    if name == "aten._to_sparse":
        return ()
    if name.endswith(("csc", "bsc")):
        # What was transposed is not coalesced any more, whatever it was before.
        calls: Sequence[RuntimeCall] = COALESCING if values._nnz() > 1 else ()
    else:
        calls = coalescing(values)
    return (*calls, *_through_the_host(values)) if name.endswith(("bsr", "bsc")) else calls


def _from_compressed(name: str, values: torch.Tensor) -> Sequence[RuntimeCall]:
    blocked = values.layout in (torch.sparse_bsr, torch.sparse_bsc)
    if name == "aten._to_sparse":
        return (upload(2 * _COUNT),) if blocked else ()
    flips = ("csr" in name or "bsr" in name) != (values.layout in (torch.sparse_csr, torch.sparse_bsr))
    flipped = (upload(_COUNT),) if flips else ()
    return (*flipped, *_through_the_host(values)) if name.endswith(("bsr", "bsc")) and not blocked else flipped


def _through_the_host(values: torch.Tensor) -> Sequence[RuntimeCall]:
    """Blocks are counted and filled on the host: three tensors come, and three go back."""
    nnz = values._nnz()
    rows = _COUNT * (values.shape[0] + 1)
    element = values.element_size() if values.layout is torch.strided else values.values().element_size()
    if values.layout is torch.sparse_coo:
        element = values._values().element_size()
    sizes = (rows, _COUNT * nnz, element * nnz)
    return (*(read_pageable(size) for size in sizes), *(upload(size) for size in sizes))


@blocks(
    "aten._cslt_sparse_mm",
    "aten._cslt_sparse_mm_search",
    reason=WaitReason.VALUE,
    why="reads a factor `alpha` of one element.",
)
def semi_structured_product(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the read of the factor, where it lies on the device."""
    alpha = call.get("alpha")
    alone = call.resident("alpha") and alpha.numel() == 1
    return (read(alpha.element_size()),) if alone else ()


@blocks("aten._to_sparse_semi_structured", reason=WaitReason.SIZE, why="compresses the matrix on the host.")
def to_semi_structured(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the read of the matrix, and the uploads of its half and of where the elements were."""
    dense = call.tensor("dense")
    size = dense.numel() * dense.element_size()
    return read_pageable(size), upload(size // 2), upload(size // 16)


@blocks(
    "aten._sparse_softmax",
    "aten._sparse_log_softmax",
    reason=WaitReason.SIZE,
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
    reason=WaitReason.SIZE,
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
