"""The functions that stand for operators that the CPU has no kernel of, or not in the type that is asked for."""

from __future__ import annotations

from typing import Any

import torch

from syncwatch.sense.virtual.operators import attention, attention_backward, cells, lu

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
    "aten.linalg_lu": lu.lu,
    "aten.linalg_lu_factor_ex": lu.factor_ex,
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
    "aten._thnn_fused_lstm_cell": cells.lstm,
    "aten._thnn_fused_lstm_cell_backward_impl": cells.lstm_backward,
    "aten._thnn_fused_gru_cell": cells.gru,
    "aten._thnn_fused_gru_cell_backward": cells.gru_backward,
}
