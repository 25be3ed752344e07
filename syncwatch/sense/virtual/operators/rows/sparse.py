"""The operators on sparse tensors that wait. Coalescing does, and so does finding how many elements are stored.

Read from the sources of torch 2.12 (`ATen/native/sparse`), with the counts of Thrust that an H200 showed: an algorithm
waits for the stream once, and one that returns a number or a position reads it besides. Nothing is read to add two
sparse tensors, unless they store more elements than a dense one would.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch

from syncwatch.model.events import Direction, HostMemory, SyncKind
from syncwatch.sense.virtual.operators.table import (
    WAIT,
    WAIT_DEVICE,
    OpCall,
    RuntimeCall,
    WaitReason,
    blocks,
    read,
    read_pageable,
    upload,
)

_COUNT = 8
COMPRESSED = (torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc)
COALESCING = (WAIT, WAIT, WAIT, WAIT, read_pageable(_COUNT))
"""Two copies, a sort, and `unique_by_key`, which reads where it ended."""
_MANY_MATCHES = 50
"""Elements that a place has at least, on average, for the larger factor to be coalesced (`MAX_COPIES_PER_THREAD`)."""


def coalescing(tensor: object) -> Sequence[RuntimeCall]:
    """Return what `coalesce()` of an argument does: nothing for one that is coalesced, or stores one element."""
    if not isinstance(tensor, torch.Tensor) or tensor.layout is not torch.sparse_coo:
        return ()
    return () if tensor.is_coalesced() or tensor._nnz() < 2 else COALESCING


def along_indices(dim: int, tensor: torch.Tensor) -> bool:
    """Return whether a dimension is one that a COO tensor stores as indices."""
    return dim % max(tensor.dim(), 1) < tensor.sparse_dim()


@blocks(
    "aten._coalesce", reason=WaitReason.SIZE, why="sorts and reduces indices with Thrust, which waits at each stage."
)
def coalesce(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the waits of the stages, and the read of the number."""
    return COALESCING if call.tensor("self")._nnz() > 1 else ()


def nested_with_dense(first: object, second: object) -> bool:
    """Return whether a nested tensor meets one row for each sequence: its offsets are uploaded to match them."""
    if not (isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor)):
        return False
    return first.is_nested and not second.is_nested and second.dim() == 3 and second.shape[1] == 1


_OF_EACH_ELEMENT = (
    "abs asin asinh atan atanh ceil deg2rad erf erfinv expm1 floor frac isinf isnan isneginf isposinf log1p nan_to_num "
    "rad2deg relu round sgn sign signbit sin sinh sqrt tan tanh threshold_backward trunc"
)


@blocks(
    *(f"aten.{name}" for name in _OF_EACH_ELEMENT.split()),
    "aten.native_norm",
    "aten.norm",
    "aten.pow",
    "aten.pow_",
    "aten.floor_divide",
    "aten.floor_divide_",
    "aten._sparse_sum",
    reason=WaitReason.SIZE,
    why="coalesces a sparse tensor first.",
    sparse=True,
)
def elements(call: OpCall) -> Sequence[RuntimeCall]:
    """Return what coalescing each sparse argument does."""
    return [each for value in (*call.args, *call.kwargs.values()) for each in coalescing(value)]


@blocks(
    "aten.div",
    "aten.div_",
    reason=WaitReason.SIZE,
    why="coalesces a sparse tensor that is divided with rounding.",
    sparse=True,
)
def divide(call: OpCall) -> Sequence[RuntimeCall]:
    """Return what coalescing does; plain division needs none."""
    return coalescing(call.get("self")) if call.get("rounding_mode") is not None else ()


@blocks(
    "aten.add",
    "aten.add_",
    "aten.sub",
    "aten.sub_",
    reason=WaitReason.SIZE,
    why="coalesces a sparse sum that stores more elements than a dense one, or adds rows with Thrust.",
    sparse=True,
)
def add(call: OpCall) -> Sequence[RuntimeCall]:
    """Return what coalescing the sum does; a compressed matrix is added to a dense one with Thrust, which waits."""
    first, second = call.get("self"), call.get("other")
    if nested_with_dense(first, second):
        return (upload(_COUNT * (second.shape[0] + 1)),)
    if not (isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor)):
        return ()
    if {first.layout, second.layout} & set(COMPRESSED) and torch.strided in (first.layout, second.layout):
        compressed = first if first.layout in COMPRESSED else second
        return (WAIT,) if compressed._nnz() else ()
    if not first.layout is second.layout is torch.sparse_coo:
        return ()
    stored = (first._nnz(), second._nnz())
    return COALESCING if all(stored) and sum(stored) > 1 and sum(stored) > first.numel() else ()


@blocks("aten.mul", "aten.mul_", reason=WaitReason.SIZE, why="coalesces a sparse factor where it must.", sparse=True)
def multiply(call: OpCall) -> Sequence[RuntimeCall]:
    """Return what coalescing does: for a factor that is broadcast, and for one that repeats its indices very often."""
    first, second = call.get("self"), call.get("other")
    if not (isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor)):
        return ()
    if nested_with_dense(first, second):
        return (upload(_COUNT * (second.shape[0] + 1)),)
    if first.layout in COMPRESSED and second.layout in COMPRESSED:
        # Both go through COO and back, which counts nothing (`mul_out_sparse_csr`); the product is coalesced already.
        return ()
    if first.layout is torch.sparse_coo and second.layout is torch.sparse_coo:
        return _product(first, second)
    sparse, dense = (first, second) if first.layout is torch.sparse_coo else (second, first)
    return coalescing(sparse) if dense.dim() > sparse.dim() and dense.numel() and sparse._nnz() else ()


def _product(first: torch.Tensor, second: torch.Tensor) -> Sequence[RuntimeCall]:
    if not first.dim() or not second.dim():
        scalar, other = (second, first) if not second.dim() else (first, second)
        return () if scalar.is_coalesced() or (not other.dim() and other.is_coalesced()) else coalescing(scalar)
    if first.is_coalesced() != second.is_coalesced():
        return ()
    larger = first if first._nnz() >= second._nnz() else second
    places = 1
    for size in larger.shape[: larger.sparse_dim()]:
        places *= size
    return coalescing(larger) if places and larger._nnz() // places > _MANY_MATCHES else ()


@blocks(
    "aten.mm",
    "aten.mv",
    "aten.addmm",
    "aten.addmm_",
    "aten._sparse_addmm",
    "aten.addmv",
    "aten.addmv_",
    reason=WaitReason.SIZE,
    why="coalesces the sparse matrix.",
    sparse=True,
)
def matrix_product(call: OpCall) -> Sequence[RuntimeCall]:
    """Return what coalescing does; two sparse matrices multiply as `_sparse_sparse_matmul`."""
    factors = [each for each in (call.get(name) for name in _FACTORS) if isinstance(each, torch.Tensor)]
    if any(each.layout in COMPRESSED for each in factors):
        return _compressed_product(factors)
    if sum(each.layout is torch.sparse_coo for each in factors) == 2 and call.name == "aten.mm":
        return _both_sparse(*factors)
    return [each for factor in factors for each in coalescing(factor)]


_FACTORS = ("self", "mat", "mat1", "mat2", "vec")


def _compressed_product(factors: Sequence[torch.Tensor]) -> Sequence[RuntimeCall]:
    """Return an upload for each matrix that is turned from columns to rows first (`addmm_out_sparse_csr`)."""
    first, second = factors[-2:]
    if first.layout is torch.strided and second.layout is torch.sparse_csr:
        return (upload(_COUNT),)
    if first.layout is second.layout is torch.sparse_csr:
        return _gemm_reads(5, SyncKind.COPY) if first._nnz() and second._nnz() else ()
    columns = [each for each in (first, second) if each.layout is torch.sparse_csc]
    return () if first.layout is torch.strided else (upload(_COUNT),) * len(columns)


@blocks(
    "aten._sparse_sparse_matmul",
    reason=WaitReason.SIZE,
    why="coalesces both, and writes indices with Thrust, which waits.",
)
def sparse_product(call: OpCall) -> Sequence[RuntimeCall]:
    """Return what coalescing does, and a wait for each of rows and columns."""
    return _both_sparse(call.tensor("self"), call.tensor("other"))


def _both_sparse(first: torch.Tensor, second: torch.Tensor) -> Sequence[RuntimeCall]:
    return (*coalescing(first), *coalescing(second), *_gemm_reads(6, None), WAIT, WAIT)


def _gemm_reads(count: int, wait: SyncKind | None) -> Sequence[RuntimeCall]:
    """Return what cuSPARSE reads of its work: 5 for two CSR matrices; 6 for COO in two of three cases, else 5."""
    sizes = (4, 16, *([4] * (count - 2)))
    return [RuntimeCall(Direction.D2H, HostMemory.PAGEABLE, size, wait) for size in sizes]


@blocks("aten.hspmm", reason=WaitReason.SIZE, why="coalesces, and numbers the rows with Thrust, which waits.")
def hybrid_product(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the waits."""
    return (*coalescing(call.get("mat1")), WAIT)


@blocks(
    "aten.bmm",
    reason=WaitReason.SIZE,
    why="coalesces a sparse batch, and waits to read where each matrix ends.",
    sparse=True,
)
def batch_product(call: OpCall) -> Sequence[RuntimeCall]:
    """Return what coalescing does, and the wait for the device."""
    batch = call.tensor("self")
    empty = batch.layout is not torch.sparse_coo or not batch._nnz() or not call.tensor("mat2").numel()
    return () if empty else (*coalescing(batch), WAIT_DEVICE)


@blocks(
    "aten._sparse_sum_backward", reason=WaitReason.SIZE, why="coalesces, and searches indices with Thrust, which waits."
)
def sum_backward(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the waits; a sum over every sparse dimension needs no search."""
    grad, values = call.tensor("grad"), call.tensor("self")
    if not grad.numel() or (grad.layout is torch.sparse_coo and not grad._nnz()):
        return ()
    summed = {dim % values.dim() for dim in call.get("dim")}
    sparse = sum(dim < values.sparse_dim() for dim in summed)
    if sparse == values.sparse_dim():
        return coalescing(values)
    return (*coalescing(values), *coalescing(grad), *([WAIT] if sparse else []))


@blocks(
    "aten.index_select", reason=WaitReason.SIZE, why="counts how many elements a sparse selection holds.", sparse=True
)
def index_select(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the read of the number; dense dimensions hold as many as before."""
    values = call.tensor("self")
    if values.layout is not torch.sparse_coo or not call.tensor("index").numel():
        return ()
    return (read(_COUNT),) if along_indices(call.get("dim"), values) else ()


@blocks(
    "aten.narrow_copy", reason=WaitReason.SIZE, why="selects elements of a sparse tensor by a mask, twice.", sparse=True
)
def narrow_copy(call: OpCall) -> Sequence[RuntimeCall]:
    """Return both reads of the number."""
    values = call.tensor("self")
    along = values.layout is torch.sparse_coo and along_indices(call.get("dim"), values)
    return (read(_COUNT), read(_COUNT)) if along else ()


@blocks(
    "aten.permute", reason=WaitReason.UPLOAD, why="uploads the order of the indices of a sparse tensor.", sparse=True
)
def permute(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the upload, where sparse dimensions of a COO tensor change places."""
    values = call.tensor("self")
    if values.layout is not torch.sparse_coo:
        return ()
    kept = values.sparse_dim()
    order = [dim % values.dim() for dim in call.get("dims")][:kept]
    return (upload(8 * kept),) if order != list(range(kept)) else ()


@blocks(
    "aten.select",
    "aten.select_copy",
    reason=WaitReason.SIZE,
    why="reads where a row of a compressed sparse tensor begins and ends.",
    sparse=True,
)
def select(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the read of both ends; across rows, elements are found first, and are looked at for a regular step."""
    values = call.tensor("self")
    batch = values.dim() - 2 - values.dense_dim() if values.layout in COMPRESSED else 0
    dim = call.get("dim") % values.dim()
    if values.layout not in COMPRESSED or batch or dim > 1:
        return ()
    by_rows = values.layout in (torch.sparse_csr, torch.sparse_bsr)
    if dim == (0 if by_rows else 1):
        return (read_pageable(2 * _COUNT),)
    plain = (values.col_indices() if by_rows else values.row_indices()).cpu()
    size = values.shape[dim]
    blocks_of = values.values().shape[1 + dim] if values.layout in (torch.sparse_bsr, torch.sparse_bsc) else 1
    found = (plain == call.get("index") % size // blocks_of).nonzero().flatten().tolist()
    return (read(_COUNT), *_steps(found))


def _steps(found: list[int]) -> Sequence[RuntimeCall]:
    """Follow `solve_arange`."""
    if len(found) < 2:
        return (read(_COUNT),) * len(found)
    if found[-1] + 1 - found[0] == len(found):
        return (read_pageable(2 * _COUNT),)
    regular = len({second - first for first, second in pairwise(found)}) == 1
    return (read_pageable(2 * _COUNT), read(1), *([read(_COUNT)] if regular else []))


@blocks(
    "aten.sparse_mask",
    "aten._sparse_mask_projection",
    reason=WaitReason.SIZE,
    why="coalesces a sparse tensor that repeats its indices very often.",
    sparse=True,
)
def sparse_mask(call: OpCall) -> Sequence[RuntimeCall]:
    """Return what coalescing does, where both are COO; a compressed mask is COO that is coalesced."""
    first, mask = call.tensor("self"), call.tensor("mask")
    if first.layout is torch.sparse_coo and mask.layout is torch.sparse_coo:
        return _product(first, mask) if first is not mask and first._nnz() and mask._nnz() else ()
    return ()


@blocks(
    "aten._sparse_csr_sum",
    "aten._sparse_csr_prod",
    reason=WaitReason.SIZE,
    why="finds how many columns, or rows, the reduced matrix stores.",
)
def compressed_reduction(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the reads and uploads: over rows distinct columns are counted, over columns the last offset is read."""
    values = call.tensor("self")
    dims = {dim % 2 for dim in call.get("dim")}
    size = values.crow_indices().element_size()
    if not values._nnz():
        return ()
    if dims == {1}:
        return (read(size),)
    return (*((read(_COUNT),) if dims == {0} else ()), upload(2 * size))
