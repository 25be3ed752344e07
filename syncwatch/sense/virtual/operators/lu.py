"""LU factorization without pivoting, which only CUDA has: gives the same numbers, column by column."""

from __future__ import annotations

import torch


def factor_ex(
    matrix: torch.Tensor,
    pivot: bool = True,
    check_errors: bool = False,
    *,
    LU: torch.Tensor | None = None,  # noqa: N803
    pivots: torch.Tensor | None = None,
    info: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return what `linalg.lu_factor_ex(matrix, pivot=False)` does of `[..., m, n]`: factors, pivots 1 to k, `info`.

    Raises:
        RuntimeError: if a pivot is zero and `check_errors` asks.
    """
    factors, zero_at = _factored(matrix)
    if check_errors:
        torch.ops.aten._linalg_check_errors(zero_at, "torch.linalg.lu_factor_ex", is_matrix=matrix.dim() == 2)
    order = torch.arange(1, min(matrix.shape[-2:]) + 1, dtype=torch.int32).expand(*matrix.shape[:-2], -1).contiguous()
    results = factors, order, zero_at
    if LU is None or pivots is None or info is None:
        return results
    for out, result in zip((LU, pivots, info), results, strict=True):
        out.resize_(result.shape).copy_(result)
    return LU, pivots, info


def lu(
    matrix: torch.Tensor,
    pivot: bool = True,
    *,
    P: torch.Tensor | None = None,  # noqa: N803
    L: torch.Tensor | None = None,  # noqa: N803
    U: torch.Tensor | None = None,  # noqa: N803
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return `linalg.lu(matrix, pivot=False)` for `[..., m, n]`: no permutation, L with ones on its diagonal, U."""
    factors, _ = _factored(matrix)
    rows, columns = matrix.shape[-2:]
    few = min(rows, columns)
    lower = factors[..., :few].tril(-1) + torch.eye(rows, few, dtype=matrix.dtype)
    results = matrix.new_empty(0), lower, factors[..., :few, :].triu()
    if P is None or L is None or U is None:
        return results
    for out, result in zip((P, L, U), results, strict=True):
        out.resize_(result.shape).copy_(result)
    return P, L, U


def _factored(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Eliminate without exchanging rows; a column whose pivot is zero is noted, counted from one, and not divided."""
    # Columns lie one after the other, as LAPACK and cuSOLVER leave them.
    factors = matrix.mT.contiguous().mT.clone(memory_format=torch.preserve_format)
    zero_at = torch.zeros(matrix.shape[:-2], dtype=torch.int32)
    for column in range(min(matrix.shape[-2:])):
        pivot = factors[..., column, column]
        zero_at = torch.where((zero_at == 0) & (pivot == 0), column + 1, zero_at).to(torch.int32)
        below = factors[..., column + 1 :, column]
        below.div_(torch.where(pivot == 0, torch.ones_like(pivot), pivot).unsqueeze(-1))
        rest = factors[..., column + 1 :, column + 1 :]
        rest.sub_(below.unsqueeze(-1) * factors[..., column, None, column + 1 :])
    return factors, zero_at
