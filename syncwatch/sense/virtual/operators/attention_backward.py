"""The gradients of the attention kernels that only CUDA has: the same sums, written out in float32.

Arguments and shapes are as in `attention.py`.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from syncwatch.sense.virtual.operators.attention import (
    CAUSAL_FROM_BOTTOM_RIGHT,
    attend,
    one_batch,
    require_no_bias,
    sequences,
)

_OPS: Any = torch.ops.aten


def scaled_efficient(
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
    """Return the gradients of `_scaled_dot_product_efficient_attention`."""
    grads = _OPS._scaled_dot_product_flash_attention_for_cpu_backward(
        grad_out, query, key, value, out, logsumexp, 0.0, is_causal, attn_mask=attn_bias, scale=scale
    )
    return (*grads, None)


def scaled_flash(
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
    """Return the gradients of `_scaled_dot_product_flash_attention`."""
    grads: tuple[Any, ...] = _OPS._scaled_dot_product_flash_attention_for_cpu_backward(
        grad_out, query, key, value, out, logsumexp, 0.0, is_causal, scale=scale
    )
    return grads


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
    weights, _ = attend(wide_query, wide_key, eye, bias, scale, causal)
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
            (one_batch(grad[here]), one_batch(query[here])),
            (one_batch(key[there]), one_batch(value[there])),
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


def efficient(
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
    """Return the gradients of `_efficient_attention_forward`."""
    if cu_seqlens_q is not None and cu_seqlens_k is not None:
        require_no_bias(bias)
        rows = grad_out_[0], query[0], key[0], value[0]
        found = _backward_by_sequence(*rows, sequences(cu_seqlens_q, cu_seqlens_k), custom_mask_type, scale)
        return *(each.unsqueeze(0) for each in found), None
    *grads, scores = _dense_backward(grad_out_, query, key, value, bias, custom_mask_type, scale)
    return *grads, scores.sum_to_size(bias.shape).to(bias.dtype) if bias is not None and bias_requires_grad else None


def flash(
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
    """Return the gradients of `_flash_attention_forward`."""
    causal = CAUSAL_FROM_BOTTOM_RIGHT if is_causal else 0
    if cum_seq_q is None or cum_seq_k is None or not cum_seq_q.numel():
        return _dense_backward(grad_out, query, key, value, None, causal, scale)[:3]
    return _backward_by_sequence(grad_out, query, key, value, sequences(cum_seq_q, cum_seq_k), causal, scale)
