"""The linear algebra that waits for the device: checks of `info`, and solvers that wait inside.

The counts of solvers are those of cuSOLVER 12 and MAGMA behind torch 2.11 on an H200; `b` is the batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from syncwatch.model.events import Direction, HostMemory, SyncKind
from syncwatch.sense.virtual.operators.table import (
    ALLOCATION,
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

_INFO = 4
_COPY_BACK = RuntimeCall(Direction.D2H, HostMemory.PINNED, 8, SyncKind.STREAM)
_COPY_IN = RuntimeCall(Direction.H2D, HostMemory.PINNED, 8, SyncKind.STREAM)
"""Copies that a solver makes by itself, and waits for."""


def _batch(matrix: torch.Tensor) -> int:
    count = 1
    for size in matrix.shape[:-2]:
        count *= size
    return count


@blocks("aten._linalg_check_errors", reason=WaitReason.CHECK, why="reads whether any `info` is not zero.")
def check_errors(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the read of the verdict; it happens for an empty `info` too."""
    return (read(1),)


_ONE_BLOCK = 32
"""The largest matrix that Jacobi's method takes in one kernel; for larger ones it reads after each sweep."""


@blocks(
    "aten._linalg_svd", reason=WaitReason.SOLVER, why="reads whether Jacobi's method converged, then checks `info`."
)
def svd(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the reads of the sweeps, and of `info`; `gesvd` does not iterate, and is asked about its result."""
    matrix = call.tensor("A")
    if not matrix.numel():
        return ()
    batch = _batch(matrix)
    if call.get("driver") == "gesvd":
        return read_pageable(_INFO), read(1)
    if max(matrix.shape[-2:]) <= _ONE_BLOCK or call.get("driver") == "gesvda":
        return read_pageable(_INFO * batch), read(1)
    # Sweeps until it converges; measured on random matrices: 6 for 3 columns, 10 for 33, 15 for 1,024.
    sweeps = round(4.3 + 1.07 * math.log2(min(matrix.shape[-2:])))
    return *([read_pageable(_INFO)] * (sweeps * batch)), read(1)


@blocks(
    "aten._linalg_eigh", reason=WaitReason.SOLVER, why="waits in the solver for a single matrix, then checks `info`."
)
def eigh(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the reads; float32 of 32 to 512 rows, and more in a batch, is solved by Jacobi's method in sweeps."""
    matrix = call.tensor("A")
    if not matrix.numel():
        return ()
    rows, batch = matrix.shape[-1], _batch(matrix)
    jacobi = matrix.dtype is torch.float32 and rows <= _MOST_JACOBI
    if batch > 1:
        # Batches of small matrices are one kernel.
        sweeps = _sweeps(rows) * batch if jacobi and rows > _ONE_BLOCK else 0
        return *([read_pageable(_INFO)] * sweeps), read(1)
    if jacobi and rows >= _ONE_BLOCK:
        return *([read_pageable(_INFO)] * _sweeps(rows)), read(1)
    return *([read_pageable(_INFO)] * (1 if rows <= _MOST_JACOBI or matrix.dtype is not torch.float32 else 2)), read(1)


def _sweeps(rows: int) -> int:
    """Return after how many reads it has converged; measured on random matrices: 8 for 32 rows, 13 for 512."""
    return round(8 + 1.25 * math.log2(rows / _ONE_BLOCK))


_MOST_JACOBI = 512


@blocks(
    "aten.linalg_eig",
    "aten.linalg_eigvals",
    "aten._linalg_eigvals",
    reason=WaitReason.SOLVER,
    why="runs the iteration partly on the host (cuSOLVER Xgeev), and checks `info`.",
)
def eig(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the checks, and what a 5 x 5 matrix was measured to need for each matrix of the batch.

    Above 65 rows it iterates on the host until the values converge, so the true number depends on them: on random
    matrices of 96 to 513 rows it was 74 to 136 waits more in float32, 210 in float64 and 182 in complex64 (512 rows).
    The row says 100 and 200: that it waits is certain, how often is not.
    """
    vectors = call.name == "aten.linalg_eig"
    matrix = call.tensor("self") if "self" in call.positions else call.tensor("A")
    checks = [read(1)] * (3 if vectors else 2)
    if not matrix.numel():
        return checks
    reads, uploads, waits = (12, 7, 6) if vectors else (8, 5, 6)
    iterations = 0
    if matrix.shape[-1] > _MOST_AT_ONCE:
        iterations = _HOST_ITERATIONS if matrix.dtype is torch.float32 else 2 * _HOST_ITERATIONS
    return checks + ([_COPY_BACK] * reads + [_COPY_IN] * uploads + [WAIT] * (waits + iterations)) * _batch(matrix)


_MOST_AT_ONCE = 65
_HOST_ITERATIONS = 100


@blocks("aten.cholesky", reason=WaitReason.CHECK, why="checks `info` of the factorization.")
def cholesky(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the read of the check."""
    return (read(1),) if call.tensor("self").numel() else ()


@blocks("aten.linalg_pinv", reason=WaitReason.SOLVER, why="decomposes with `svd`, or `eigh` for a hermitian matrix.")
def pinv(call: OpCall) -> Sequence[RuntimeCall]:
    """Return what the decomposition does."""
    matrix = call.tensor("self")
    decomposition = eigh if call.get("hermitian", False) else svd
    return decomposition(OpCall(call.name, (matrix,), {}, {"A": 0}))


@blocks(
    "aten.linalg_lu_factor_ex",
    "aten.linalg_lu",
    "aten._linalg_det",
    "aten._linalg_slogdet",
    "aten._linalg_solve_ex",
    "aten.linalg_inv_ex",
    reason=WaitReason.SOLVER,
    why="factors matrices that are not square, and large batches, with MAGMA, which waits and asks for memory.",
)
def lu_factor(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the waits of MAGMA, and the read of a check that was asked for."""
    matrix = call.tensor("A")
    if not matrix.numel():
        return _checked(call)
    return (*_factored(matrix), *_checked(call))


def _factored(matrix: torch.Tensor) -> Sequence[RuntimeCall]:
    """Follow `lu_factor` of `BatchLinearAlgebra.cpp`; measured for batches of 17 and 64 with 32 to 128 rows."""
    rows, columns, batch = matrix.shape[-2], matrix.shape[-1], _batch(matrix)
    if rows == columns and (batch == 1 or rows <= 16 or (rows <= 128 and batch <= 16)):
        return ()
    if rows == columns and rows <= _ONE_BLOCK:
        # One kernel for the whole batch.
        return WAIT_DEVICE, WAIT
    return (
        *(WAIT_DEVICE, ALLOCATION, ALLOCATION, ALLOCATION),
        *(WAIT, ALLOCATION, ALLOCATION),
        *(WAIT, ALLOCATION),
    )


def _checked(call: OpCall) -> Sequence[RuntimeCall]:
    return (read(1),) if call.get("check_errors", False) else ()


@blocks(
    "aten.linalg_lu_solve",
    reason=WaitReason.SOLVER,
    why="solved many right sides of small matrices with MAGMA, which waits, before torch 2.12.",
)
def lu_solve(call: OpCall) -> Sequence[RuntimeCall]:
    """Follow `lu_solve_kernel` of `BatchLinearAlgebra.cpp`; measured with torch 2.11 for 3 rows and 4 to 333,333 sides.

    From 2.12 on cuBLAS does it, which waits for nothing.
    """
    rows, sides = call.tensor("LU").shape[-1], call.tensor("B").shape
    left = call.get("left", True)
    right_sides = sides[-1] if left else sides[-2]
    few = rows > 8 or rows == right_sides or not 256 <= right_sides <= 1024
    # A product from the right is solved transposed.
    transposed = bool(call.get("adjoint", False)) == bool(left)
    if torch.__version__ >= "2.12" or few or transposed or not call.tensor("B").numel():
        return ()
    return (WAIT,)


@blocks("aten.linalg_cholesky_ex", reason=WaitReason.CHECK, why="checks `info` where `check_errors` asks for it.")
def cholesky_ex(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the read of the check."""
    return _checked(call)


@blocks("aten.linalg_ldl_factor_ex", reason=WaitReason.SOLVER, why="cuSOLVER reads each pivot.")
def ldl_factor(call: OpCall) -> Sequence[RuntimeCall]:
    """Return one read a column and one more; MAGMA factors complex hermitian matrices."""
    matrix = call.tensor("self")
    columns = matrix.shape[-1] * _batch(matrix)
    if matrix.is_complex() and call.get("hermitian", False):
        return _checked(call)
    return [*([read_pageable(8)] * (columns + 1) if columns else []), *_checked(call)]


@blocks("aten.linalg_ldl_solve", reason=WaitReason.SOLVER, why="copies the pivots to the host, and frees memory.")
def ldl_solve(call: OpCall) -> Sequence[RuntimeCall]:
    """Return a copy for each matrix, and the wait of the free."""
    pivots = call.tensor("pivots")
    if not pivots.numel():
        return ()
    rows = pivots.shape[-1]
    copy = RuntimeCall(Direction.D2H, HostMemory.PAGEABLE, 4 * rows, None)
    return [copy] * (pivots.numel() // rows) + [WAIT_DEVICE]


@blocks("aten.linalg_lstsq", reason=WaitReason.CHECK, why="checks `info` of the factorization.")
def lstsq(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the read of the check."""
    return (read(1),)


@blocks(
    "aten.linalg_matrix_exp",
    reason=WaitReason.RANGE,
    why="reads the norm to choose a polynomial, and uploads its coefficients.",
)
def matrix_exp(call: OpCall) -> Sequence[RuntimeCall]:
    """Return what the polynomial of that norm needs; a batch takes the highest for all."""
    matrix = call.tensor("self")
    if not matrix.numel() or matrix.shape[-1] == 1:
        return ()
    width = 8 if matrix.dtype in (torch.float64, torch.complex128) else 4
    batch = _batch(matrix)
    if batch > 1:
        return _highest_degree(width, 16)
    index = upload(8)
    norm = float(matrix.cpu().reshape(matrix.shape[-2:]).abs().sum(-2).max())
    degree = sum(norm > bound for bound in _NORMS[width])
    coefficients: Sequence[Sequence[RuntimeCall]] = (
        (),
        (),
        (upload(3 * width), upload(4 * width)),
        (upload(2 * width), upload(2 * width), upload(4 * width), upload(5 * width)),
        (upload(16 * width),),
        (*_highest_degree(width, 16), upload(8)),
    )
    return (read_pageable(width),) if norm != norm else (read_pageable(width), index, *coefficients[degree])


_NORMS = {
    4: (1.192092800768788e-07, 5.978858893805233e-04, 5.116619363445086e-02, 5.800524627688768e-01, 1.461661507209034),
    8: (2.220446049250313e-16, 2.580956802971767e-08, 3.397168839976962e-04, 4.991228871115323e-02, 0.2996158913811580),
}
"""The largest norm for polynomials of degree 1, 2, 4, 8 and 12 (`mexp`), by the size of a real number."""


def _highest_degree(width: int, sections: int) -> Sequence[RuntimeCall]:
    """Degree 18: coefficients, how many powers there are, and which (`compute_T18_scale_square`)."""
    return upload(25 * width), read(8), read_pageable(sections)
