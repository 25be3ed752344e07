"""Answers: what do the attention kernels compute that only CUDA has? The same sums, written out in float32."""

from __future__ import annotations

import math
from typing import Any

import torch

from syncwatch.errors import NotMeasuredError
from syncwatch.sense.virtual import cells, lu

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
    if cu_seqlens_q is not None and cu_seqlens_k is not None:
        pieces = _sequences(cu_seqlens_q, cu_seqlens_k)
        rows, sums = _by_sequence(query[0], key[0], value[0], pieces, bias, custom_mask_type, scale)
        # One row of sums for each sequence, as long as the longest.
        padded = query.new_zeros(len(pieces), query.shape[2], max_seqlen_q or 0, dtype=torch.float32)
        for row, (here, _) in zip(padded, pieces, strict=True):
            row[:, : here.stop - here.start] = sums[:, here]
        if not compute_log_sumexp:
            padded = padded.new_empty(0)
        return rows.unsqueeze(0), padded, *_seeds(), max_seqlen_q, max_seqlen_k
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
    pieces = _sequences(cum_seq_q, cum_seq_k)
    out, sums = _by_sequence(query, key, value, pieces, None, causal, scale)
    return out, sums, seed, unused, query.new_empty(0)


def _sequences(starts_q: torch.Tensor, starts_k: torch.Tensor) -> list[tuple[slice, slice]]:
    """Return which rows of query, and which of key and value, belong to each sequence."""
    ends_q, ends_k = starts_q.tolist(), starts_k.tolist()
    return [
        (slice(here, there), slice(first, last))
        for here, there, first, last in zip(ends_q, ends_q[1:], ends_k, ends_k[1:], strict=False)
    ]


def _by_sequence(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    pieces: list[tuple[slice, slice]],
    bias: torch.Tensor | None,
    causal: int,
    scale: float | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return output and log-sum-exp of attention over `[all lengths, heads, size]`."""
    _require_no_bias(bias)
    out = query.new_zeros(*query.shape[:2], value.shape[-1])
    sums = query.new_zeros(query.shape[1], query.shape[0], dtype=torch.float32)
    for here, there in pieces:
        parts = _one_batch(query[here]), _one_batch(key[there]), _one_batch(value[there])
        piece, found = _attention(*parts, None, scale, causal)
        out[here], sums[:, here] = piece[0].transpose(0, 1), found[0]
    return out, sums


def _require_no_bias(bias: torch.Tensor | None) -> None:
    if bias is not None:
        # No NotImplementedError: torch would try another way and hide it.
        raise NotMeasuredError(
            "The virtual device has no attention with a bias over sequences of different lengths. Use --device cuda."
        )


def _attention_backward(
    grad: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    bias: torch.Tensor | None,
    scale: float | None,
    causal: int,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the gradients of query, key, value and scores of attention over `[batch, heads, length, size]`."""
    factor = scale or 1 / math.sqrt(query.shape[-1])
    groups = query.shape[1] // key.shape[1]
    wide_key, wide_value = (each.float().repeat_interleave(groups, 1) for each in (key, value))
    grad, wide_query = grad.float(), query.float()
    eye = torch.eye(key.shape[2]).expand(*query.shape[:2], -1, -1)
    weights, _ = _attention(wide_query, wide_key, eye, bias, scale, causal)
    grad_weights = grad @ wide_value.transpose(-2, -1)
    grad_scores = weights * (grad_weights - (weights * grad_weights).sum(-1, keepdim=True))
    grads = (
        grad_scores @ wide_key * factor,
        _summed(grad_scores.transpose(-2, -1) @ wide_query * factor, groups),
        _summed(weights.transpose(-2, -1) @ grad, groups),
    )
    return grads[0].to(query.dtype), grads[1].to(key.dtype), grads[2].to(value.dtype), grad_scores


def _summed(grad: torch.Tensor, groups: int) -> torch.Tensor:
    """Return the sum over the heads of the query that share one of the key."""
    summed: torch.Tensor = grad.unflatten(1, (-1, groups)).sum(2)
    return summed


def _backward_by_sequence(
    grad: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    pieces: list[tuple[slice, slice]],
    causal: int,
    scale: float | None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    grads = torch.zeros_like(query), torch.zeros_like(key), torch.zeros_like(value)
    for here, there in pieces:
        rows, columns = (
            (_one_batch(grad[here]), _one_batch(query[here])),
            (_one_batch(key[there]), _one_batch(value[there])),
        )
        found = _attention_backward(*rows, *columns, None, scale, causal)
        for whole, place, part in zip(grads, (here, there, there), found, strict=False):
            whole[place] = part[0].transpose(0, 1)
    return grads


def _dense_backward(
    grad: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    bias: torch.Tensor | None,
    causal: int,
    scale: float | None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    rows, columns = (grad.transpose(1, 2), query.transpose(1, 2)), (key.transpose(1, 2), value.transpose(1, 2))
    *grads, scores = _attention_backward(*rows, *columns, bias, scale, causal)
    first, second, third = (each.transpose(1, 2).contiguous() for each in grads)
    return first, second, third, scores


def _efficient_attention_backward(
    grad_out_: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    bias: torch.Tensor | None,
    out: torch.Tensor,
    cu_seqlens_q: torch.Tensor | None,
    cu_seqlens_k: torch.Tensor | None,
    max_seqlen_q: int,
    max_seqlen_k: int,
    logsumexp: torch.Tensor,
    dropout_p: float,
    philox_seed: torch.Tensor,
    philox_offset: torch.Tensor,
    custom_mask_type: int,
    bias_requires_grad: bool,
    *,
    scale: float | None = None,
    **rest: Any,
) -> tuple[Any, ...]:
    if cu_seqlens_q is not None and cu_seqlens_k is not None:
        _require_no_bias(bias)
        rows = grad_out_[0], query[0], key[0], value[0]
        found = _backward_by_sequence(*rows, _sequences(cu_seqlens_q, cu_seqlens_k), custom_mask_type, scale)
        return *(each.unsqueeze(0) for each in found), None
    *grads, scores = _dense_backward(grad_out_, query, key, value, bias, custom_mask_type, scale)
    return *grads, scores.sum_to_size(bias.shape).to(bias.dtype) if bias is not None and bias_requires_grad else None


def _flash_attention_backward(
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
    rng_state: torch.Tensor,
    unused: torch.Tensor,
    *,
    scale: float | None = None,
    **rest: Any,
) -> tuple[Any, ...]:
    causal = _CAUSAL_FROM_BOTTOM_RIGHT if is_causal else 0
    if cum_seq_q is None or cum_seq_k is None or not cum_seq_q.numel():
        return _dense_backward(grad_out, query, key, value, None, causal, scale)[:3]
    return _backward_by_sequence(grad_out, query, key, value, _sequences(cum_seq_q, cum_seq_k), causal, scale)


def _one_batch(rows: torch.Tensor) -> torch.Tensor:
    """Return `[length, heads, size]` as `[1, heads, length, size]`."""
    return rows.transpose(0, 1).unsqueeze(0)


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
    "aten._flash_attention_forward": _flash_forward,
    "aten._flash_attention_backward": _flash_attention_backward,
    "aten._efficient_attention_forward": _efficient_forward,
    "aten._efficient_attention_backward": _efficient_attention_backward,
    "aten._scaled_dot_product_efficient_attention": _efficient,
    "aten._scaled_dot_product_efficient_attention_backward": _efficient_backward,
    "aten._scaled_dot_product_flash_attention": _flash,
    "aten._scaled_dot_product_flash_attention_backward": _flash_backward,
    "aten._thnn_fused_lstm_cell": cells.lstm,
    "aten._thnn_fused_lstm_cell_backward_impl": cells.lstm_backward,
    "aten._thnn_fused_gru_cell": cells.gru,
    "aten._thnn_fused_gru_cell_backward": cells.gru_backward,
}
