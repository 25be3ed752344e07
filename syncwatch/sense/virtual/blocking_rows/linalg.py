"""Answers: which linear algebra waits? Checks of `info`, and solvers that wait inside.

The counts of solvers are those of cuSOLVER 12 and MAGMA behind torch 2.11 on an H200; `b` is the batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from syncwatch.model.events import Direction, HostMemory
from syncwatch.sense.virtual.blocking_ops import OpCall, Reason, blocks
from syncwatch.sense.virtual.runtime_calls import WAIT_DEVICE, RuntimeCall, read, read_pageable, upload

_INFO = 4
_COPY_BACK = RuntimeCall(Direction.D2H, HostMemory.PINNED, 8, None)
_COPY_IN = RuntimeCall(Direction.H2D, HostMemory.PINNED, 8, None)
"""Copies that a solver makes by itself."""


def _batch(matrix: torch.Tensor) -> int:
    count = 1
    for size in matrix.shape[:-2]:
        count *= size
    return count


@blocks("aten._linalg_check_errors", reason=Reason.CHECK, why="reads whether any `info` is not zero.")
def check_errors(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the read of the verdict; it happens for an empty `info` too."""
    return (read(1),)


@blocks("aten._linalg_svd", reason=Reason.SOLVER, why="reads whether Jacobi's method converged, then checks `info`.")
def svd(call: OpCall) -> Sequence[RuntimeCall]:
    """Return both reads."""
    matrix = call.tensor("A")
    return (read_pageable(_INFO * _batch(matrix)), read(1)) if matrix.numel() else ()


@blocks("aten._linalg_eigh", reason=Reason.SOLVER, why="waits in the solver for a single matrix, then checks `info`.")
def eigh(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the reads."""
    matrix = call.tensor("A")
    if not matrix.numel():
        return ()
    if matrix.dim() > 2:
        return (read(1),)
    return read_pageable(_INFO), read(1)


@blocks(
    "aten.linalg_eig",
    "aten.linalg_eigvals",
    "aten._linalg_eigvals",
    reason=Reason.SOLVER,
    why="runs the iteration partly on the host (cuSOLVER Xgeev), and checks `info`.",
)
def eig(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the checks, and what a 5 x 5 matrix was measured to need for each matrix of the batch."""
    vectors = call.name == "aten.linalg_eig"
    matrix = call.tensor("self") if "self" in call.positions else call.tensor("A")
    checks = [read(1)] * (3 if vectors else 2)
    if not matrix.numel():
        return checks
    reads, uploads = (12, 7) if vectors else (8, 5)
    return checks + ([_COPY_BACK] * reads + [_COPY_IN] * uploads) * _batch(matrix)


@blocks("aten.cholesky", reason=Reason.CHECK, why="checks `info` of the factorization.")
def cholesky(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the read of the check."""
    return (read(1),) if call.tensor("self").numel() else ()


@blocks("aten.linalg_pinv", reason=Reason.SOLVER, why="decomposes with `svd`, or `eigh` for a hermitian matrix.")
def pinv(call: OpCall) -> Sequence[RuntimeCall]:
    """Return what the decomposition does."""
    matrix = call.tensor("self")
    decomposition = eigh if call.get("hermitian", False) else svd
    return decomposition(OpCall(call.name, (matrix,), {}, {"A": 0}))


@blocks(
    "aten.linalg_lu_factor_ex", reason=Reason.SOLVER, why="MAGMA allocates and frees for matrices that are not square."
)
def lu_factor(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the waits of a matrix that is not square."""
    matrix = call.tensor("A")
    if not matrix.numel() or matrix.shape[-1] == matrix.shape[-2]:
        return ()
    return (WAIT_DEVICE,)


@blocks("aten.linalg_lu", reason=Reason.SOLVER, why="factors with `linalg_lu_factor_ex`.")
def lu(call: OpCall) -> Sequence[RuntimeCall]:
    """Return what the factorization does."""
    return lu_factor(call)


@blocks("aten.linalg_ldl_factor_ex", reason=Reason.SOLVER, why="cuSOLVER reads each pivot.")
def ldl_factor(call: OpCall) -> Sequence[RuntimeCall]:
    """Return one read a column and one more."""
    matrix = call.tensor("self")
    columns = matrix.shape[-1] * _batch(matrix)
    return [read_pageable(8)] * (columns + 1) if columns else ()


@blocks("aten.linalg_ldl_solve", reason=Reason.SOLVER, why="copies the pivots to the host, and frees memory.")
def ldl_solve(call: OpCall) -> Sequence[RuntimeCall]:
    """Return a copy for each matrix, and the wait of the free."""
    pivots = call.tensor("pivots")
    if not pivots.numel():
        return ()
    rows = pivots.shape[-1]
    copy = RuntimeCall(Direction.D2H, HostMemory.PAGEABLE, 4 * rows, None)
    return [copy] * (pivots.numel() // rows) + [WAIT_DEVICE]


@blocks("aten.linalg_lstsq", reason=Reason.CHECK, why="checks `info` of the factorization.")
def lstsq(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the read of the check."""
    return (read(1),)


@blocks(
    "aten.linalg_matrix_exp",
    reason=Reason.RANGE,
    why="sorts matrices by norm on the host to choose the degree, and uploads coefficients.",
)
def matrix_exp(call: OpCall) -> Sequence[RuntimeCall]:
    """Return what was measured: a single matrix reads its norm, a batch sorts the norms."""
    matrix = call.tensor("self")
    if not matrix.numel() or matrix.shape[-1] == 1:
        return ()
    if matrix.dim() == 2:
        return read_pageable(4), read(4), read_pageable(4), upload(8), upload(8), upload(8)
    return read_pageable(4 * _batch(matrix)), read(4), upload(8 * _batch(matrix))
