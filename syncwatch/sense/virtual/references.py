"""Answers: what do the attention kernels compute that only CUDA has? The same sums, written out in float32."""

from __future__ import annotations

import math
from typing import Any

import torch

from syncwatch.sense.virtual import cells

_OPS: Any = torch.ops.aten
_CAUSAL_FROM_TOP_LEFT = 1
_CAUSAL_FROM_BOTTOM_RIGHT = 2


def reference_of(name: str) -> Any:
    """Return the function that stands for the operator `name`, or None."""
    return _REFERENCES.get(name)


def _attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    bias: torch.Tensor | None,
    scale: float | None,
    causal: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return output and log-sum-exp of attention over `[batch, heads, length, size]`."""
    query, key, value_wide = query.float(), key.float(), value.float()
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value_wide = key.repeat_interleave(groups, 1), value_wide.repeat_interleave(groups, 1)
    scores = query @ key.transpose(-2, -1) * (scale or 1 / math.sqrt(query.shape[-1]))
    if bias is not None:
        scores = scores + bias.float()
    if causal:
        rows, columns = scores.shape[-2:]
        shift = columns - rows if causal == _CAUSAL_FROM_BOTTOM_RIGHT else 0
        allowed = torch.ones(rows, columns, dtype=torch.bool).tril(shift)
        scores = scores.masked_fill(~allowed, -math.inf)
    sums = torch.logsumexp(scores, -1)
    weights = torch.exp(scores - sums.unsqueeze(-1)).nan_to_num(0.0)
    return (weights @ value_wide).to(value.dtype), sums


def _seeds() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.zeros((), dtype=torch.int64), torch.zeros((), dtype=torch.int64)


def _efficient_forward(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    bias: torch.Tensor | None,
    cu_seqlens_q: torch.Tensor | None,
    cu_seqlens_k: torch.Tensor | None,
    max_seqlen_q: int | None,
    max_seqlen_k: int | None,
    dropout_p: float,
    custom_mask_type: int,
    compute_log_sumexp: bool = False,
    *,
    scale: float | None = None,
    **rest: Any,
) -> tuple[Any, ...]:
    if cu_seqlens_q is not None:
        raise NotImplementedError("The virtual device has no efficient attention over sequences of different lengths.")
    out, sums = _attention(
        query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), bias, scale, custom_mask_type
    )
    if not compute_log_sumexp:
        sums = sums.new_empty(0)
    return out.transpose(1, 2).contiguous(), sums, *_seeds(), query.shape[1], key.shape[1]


def _efficient(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_bias: torch.Tensor | None,
    compute_log_sumexp: bool,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
) -> tuple[Any, ...]:
    if query.shape[-1] != value.shape[-1]:
        out, sums = _attention(query, key, value, attn_bias, scale, _CAUSAL_FROM_TOP_LEFT if is_causal else 0)
    else:
        out, sums = _OPS._scaled_dot_product_flash_attention_for_cpu(
            query, key, value, 0.0, is_causal, attn_mask=attn_bias, scale=scale
        )
    return out, sums, *_seeds()


def _efficient_backward(
    grad_out: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_bias: torch.Tensor | None,
    out: torch.Tensor,
    logsumexp: torch.Tensor,
    philox_seed: torch.Tensor,
    philox_offset: torch.Tensor,
    dropout_p: float,
    grad_input_mask: list[bool],
    is_causal: bool = False,
    *,
    scale: float | None = None,
) -> tuple[Any, ...]:
    grads = _OPS._scaled_dot_product_flash_attention_for_cpu_backward(
        grad_out, query, key, value, out, logsumexp, 0.0, is_causal, attn_mask=attn_bias, scale=scale
    )
    return (*grads, None)


def _flash(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    return_debug_mask: bool = False,
    *,
    scale: float | None = None,
) -> tuple[Any, ...]:
    out, sums = _OPS._scaled_dot_product_flash_attention_for_cpu(query, key, value, 0.0, is_causal, scale=scale)
    seed, unused = _seeds()
    nothing = query.new_empty(0)
    return out, sums, None, None, query.shape[2], key.shape[2], seed, unused, nothing


def _flash_backward(
    grad_out: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    out: torch.Tensor,
    logsumexp: torch.Tensor,
    cum_seq_q: torch.Tensor | None,
    cum_seq_k: torch.Tensor | None,
    max_q: int,
    max_k: int,
    dropout_p: float,
    is_causal: bool,
    philox_seed: torch.Tensor,
    philox_offset: torch.Tensor,
    *,
    scale: float | None = None,
) -> tuple[Any, ...]:
    grads: tuple[Any, ...] = _OPS._scaled_dot_product_flash_attention_for_cpu_backward(
        grad_out, query, key, value, out, logsumexp, 0.0, is_causal, scale=scale
    )
    return grads


def _flash_forward(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    cum_seq_q: torch.Tensor | None,
    cum_seq_k: torch.Tensor | None,
    max_q: int,
    max_k: int,
    dropout_p: float,
    is_causal: bool,
    return_debug_mask: bool,
    *,
    scale: float | None = None,
    **rest: Any,
) -> tuple[Any, ...]:
    causal = _CAUSAL_FROM_BOTTOM_RIGHT if is_causal else 0
    seed, unused = _seeds()
    if cum_seq_q is None or cum_seq_k is None:
        out, sums = _attention(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), None, scale, causal)
        return out.transpose(1, 2).contiguous(), sums, seed, unused, query.new_empty(0)
    out = torch.empty_like(query)
    sums = query.new_zeros(query.shape[1], query.shape[0], dtype=torch.float32)
    starts_q, starts_k = cum_seq_q.tolist(), cum_seq_k.tolist()
    for here, there, first, last in zip(starts_q, starts_q[1:], starts_k, starts_k[1:], strict=False):
        parts = _one_batch(query[here:there]), _one_batch(key[first:last]), _one_batch(value[first:last])
        piece, sums[:, here:there] = _attention(*parts, None, scale, causal)
        out[here:there] = piece[0].transpose(0, 1)
    return out, sums, seed, unused, query.new_empty(0)


def _one_batch(rows: torch.Tensor) -> torch.Tensor:
    """Return `[length, heads, size]` as `[1, heads, length, size]`."""
    return rows.transpose(0, 1).unsqueeze(0)


def _no_cudnn(*arguments: Any, **named: Any) -> bool:
    """The loss is computed by torch's own kernel; what cuDNN would ask before is a row of the table."""
    return False


def _svd(A: torch.Tensor, full_matrices: bool = False, compute_uv: bool = True, *, driver: str | None = None) -> Any:  # noqa: N803
    """Take the only solver of the CPU in the place of the one that was asked for."""
    return _OPS._linalg_svd(A, full_matrices, compute_uv)


_REFERENCES = {
    "aten._linalg_svd": _svd,
    "aten._use_cudnn_ctc_loss": _no_cudnn,
    "aten._use_miopen_ctc_loss": _no_cudnn,
    "aten._flash_attention_forward": _flash_forward,
    "aten._efficient_attention_forward": _efficient_forward,
    "aten._scaled_dot_product_efficient_attention": _efficient,
    "aten._scaled_dot_product_efficient_attention_backward": _efficient_backward,
    "aten._scaled_dot_product_flash_attention": _flash,
    "aten._scaled_dot_product_flash_attention_backward": _flash_backward,
    "aten._thnn_fused_lstm_cell": cells.lstm,
    "aten._thnn_fused_lstm_cell_backward_impl": cells.lstm_backward,
    "aten._thnn_fused_gru_cell": cells.gru,
    "aten._thnn_fused_gru_cell_backward": cells.gru_backward,
}
