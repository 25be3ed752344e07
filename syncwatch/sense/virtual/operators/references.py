"""The functions that stand for operators that the CPU has no kernel of, or not in the type that is asked for.

The arguments and results of the cells are those of `_thnn_fused_lstm_cell` and its like in torch's
native_functions.yaml; gates are `[batch, 4 * hidden]` for LSTM and `[batch, 3 * hidden]` for GRU, in torch's order.
"""

from __future__ import annotations

from typing import Any

import torch

from syncwatch.sense.virtual.operators import attention, attention_backward


def _sum(*parts: torch.Tensor | None) -> torch.Tensor:
    given = [part for part in parts if part is not None]
    total = given[0]
    for part in given[1:]:
        total = total + part
    return total


def lstm(
    input_gates: torch.Tensor,
    hidden_gates: torch.Tensor,
    cx: torch.Tensor,
    input_bias: torch.Tensor | None = None,
    hidden_bias: torch.Tensor | None = None,
) -> tuple[Any, ...]:
    """Return hidden state, cell state, and the gates after their activation, for backward."""
    gates = _sum(input_gates, hidden_gates, input_bias, hidden_bias)
    into, forget, cell, out = gates.chunk(4, 1)
    into, forget, cell, out = into.sigmoid(), forget.sigmoid(), cell.tanh(), out.sigmoid()
    cy = forget * cx + into * cell
    return out * cy.tanh(), cy, torch.cat([into, forget, cell, out], 1)


def lstm_backward(
    grad_hy: torch.Tensor | None,
    grad_cy: torch.Tensor | None,
    cx: torch.Tensor,
    cy: torch.Tensor,
    workspace: torch.Tensor,
    has_bias: bool,
) -> tuple[Any, ...]:
    """Return the gradients of gates, cell state and biases."""
    into, forget, cell, out = workspace.chunk(4, 1)
    if grad_hy is None and grad_cy is None:
        return None, None, None
    hidden = torch.zeros_like(cy) if grad_hy is None else grad_hy
    squashed = cy.tanh()
    grad_cell = hidden * out * (1 - squashed * squashed)
    if grad_cy is not None:
        grad_cell = grad_cell + grad_cy
    gates = torch.cat(
        [
            grad_cell * cell * into * (1 - into),
            grad_cell * cx * forget * (1 - forget),
            grad_cell * into * (1 - cell * cell),
            hidden * squashed * out * (1 - out),
        ],
        1,
    )
    return gates, grad_cell * forget, gates.sum(0) if has_bias else None


def gru(
    input_gates: torch.Tensor,
    hidden_gates: torch.Tensor,
    hx: torch.Tensor,
    input_bias: torch.Tensor | None = None,
    hidden_bias: torch.Tensor | None = None,
) -> tuple[Any, ...]:
    """Return the hidden state, and what backward needs: reset, update and new gate, old state, hidden part."""
    reset_in, update_in, new_in = _sum(input_gates, input_bias).chunk(3, 1)
    reset_hidden, update_hidden, new_hidden = _sum(hidden_gates, hidden_bias).chunk(3, 1)
    reset, update = (reset_in + reset_hidden).sigmoid(), (update_in + update_hidden).sigmoid()
    new = (new_in + reset * new_hidden).tanh()
    return new + update * (hx - new), torch.cat([reset, update, new, hx, new_hidden], 1)


def gru_backward(grad_hy: torch.Tensor, workspace: torch.Tensor, has_bias: bool) -> tuple[Any, ...]:
    """Return the gradients of input gates, hidden gates, old state and both biases."""
    reset, update, new, hx, new_hidden = workspace.chunk(5, 1)
    grad_update = grad_hy * (hx - new) * (1 - update) * update
    grad_new = grad_hy * (1 - update) * (1 - new * new)
    grad_reset = grad_new * new_hidden * (1 - reset) * reset
    into = torch.cat([grad_reset, grad_update, grad_new], 1)
    hidden = torch.cat([grad_reset, grad_update, grad_new * reset], 1)
    biases = (into.sum(0), hidden.sum(0)) if has_bias else (None, None)
    return into, hidden, grad_hy * update, *biases


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


_OPS: Any = torch.ops.aten


def reference_of(name: str) -> Any:
    """Return the function that stands for the operator `name`, or None."""
    return _REFERENCES.get(name)


def _no_cudnn(*arguments: Any, **named: Any) -> bool:
    """The loss is computed by torch's own kernel; what cuDNN would ask before is a row of the table."""
    return False


def _svd(A: torch.Tensor, full_matrices: bool = False, compute_uv: bool = True, *, driver: str | None = None) -> Any:  # noqa: N803
    """Take the only solver of the CPU in the place of the one that was asked for."""
    return _OPS._linalg_svd(A, full_matrices, compute_uv)


def _softmax(self: torch.Tensor, dim: int, half_to_float: bool) -> torch.Tensor:
    """Take the input to float32 first, as the kernel does on the way."""
    out: torch.Tensor = _OPS._softmax(self.float(), dim, False)
    return out


def _log_softmax(self: torch.Tensor, dim: int, half_to_float: bool) -> torch.Tensor:
    out: torch.Tensor = _OPS._log_softmax(self.float(), dim, False)
    return out


def _softmax_backward(grad: torch.Tensor, output: torch.Tensor, dim: int, input_dtype: torch.dtype) -> torch.Tensor:
    out: torch.Tensor = _OPS._softmax_backward_data(grad, output, dim, grad.dtype)
    return out.to(input_dtype)


def _log_softmax_backward(grad: torch.Tensor, output: torch.Tensor, dim: int, input_dtype: torch.dtype) -> torch.Tensor:
    out: torch.Tensor = _OPS._log_softmax_backward_data(grad, output, dim, grad.dtype)
    return out.to(input_dtype)


_REFERENCES = {
    "aten._softmax": _softmax,
    "aten._log_softmax": _log_softmax,
    "aten._softmax_backward_data": _softmax_backward,
    "aten._log_softmax_backward_data": _log_softmax_backward,
    "aten._linalg_svd": _svd,
    "aten.linalg_lu": lu,
    "aten.linalg_lu_factor_ex": factor_ex,
    "aten._use_cudnn_ctc_loss": _no_cudnn,
    "aten._use_miopen_ctc_loss": _no_cudnn,
    "aten._flash_attention_forward": attention.flash_forward,
    "aten._flash_attention_backward": attention_backward.flash,
    "aten._efficient_attention_forward": attention.efficient_forward,
    "aten._efficient_attention_backward": attention_backward.efficient,
    "aten._scaled_dot_product_efficient_attention": attention.scaled_efficient,
    "aten._scaled_dot_product_efficient_attention_backward": attention_backward.scaled_efficient,
    "aten._scaled_dot_product_flash_attention": attention.scaled_flash,
    "aten._scaled_dot_product_flash_attention_backward": attention_backward.scaled_flash,
    "aten._thnn_fused_lstm_cell": lstm,
    "aten._thnn_fused_lstm_cell_backward_impl": lstm_backward,
    "aten._thnn_fused_gru_cell": gru,
    "aten._thnn_fused_gru_cell_backward": gru_backward,
}
