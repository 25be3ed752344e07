"""What the attention kernels compute that only CUDA has: the same sums, written out in float32.

The arguments and results are those of the operators in torch's native_functions.yaml. Tensors are `[batch, heads,
length, size]` where nothing else is said; `_flash_attention_forward` and `_efficient_attention_forward` take `[batch,
length, heads, size]`, or `[all lengths, heads, size]` with the places where sequences start.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from syncwatch.errors import NotMeasuredError

_OPS: Any = torch.ops.aten
CAUSAL_FROM_TOP_LEFT = 1
CAUSAL_FROM_BOTTOM_RIGHT = 2


def attend(
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
        shift = columns - rows if causal == CAUSAL_FROM_BOTTOM_RIGHT else 0
        allowed = torch.ones(rows, columns, dtype=torch.bool).tril(shift)
        scores = scores.masked_fill(~allowed, -math.inf)
    sums = torch.logsumexp(scores, -1)
    weights = torch.exp(scores - sums.unsqueeze(-1)).nan_to_num(0.0)
    return (weights @ value_wide).to(value.dtype), sums


def _seeds() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.zeros((), dtype=torch.int64), torch.zeros((), dtype=torch.int64)


def efficient_forward(
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
    """Return what `_efficient_attention_forward` does, over batches or over sequences of different lengths."""
    if cu_seqlens_q is not None and cu_seqlens_k is not None:
        pieces = sequences(cu_seqlens_q, cu_seqlens_k)
        rows, sums = _by_sequence(query[0], key[0], value[0], pieces, bias, custom_mask_type, scale)
        # One row of sums for each sequence, as long as the longest.
        padded = query.new_zeros(len(pieces), query.shape[2], max_seqlen_q or 0, dtype=torch.float32)
        for row, (here, _) in zip(padded, pieces, strict=True):
            row[:, : here.stop - here.start] = sums[:, here]
        if not compute_log_sumexp:
            padded = padded.new_empty(0)
        return rows.unsqueeze(0), padded, *_seeds(), max_seqlen_q, max_seqlen_k
    out, sums = attend(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), bias, scale, custom_mask_type)
    if not compute_log_sumexp:
        sums = sums.new_empty(0)
    return out.transpose(1, 2).contiguous(), sums, *_seeds(), query.shape[1], key.shape[1]


def scaled_efficient(
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
    """Return what `_scaled_dot_product_efficient_attention` does."""
    if query.shape[-1] != value.shape[-1]:
        out, sums = attend(query, key, value, attn_bias, scale, CAUSAL_FROM_TOP_LEFT if is_causal else 0)
    else:
        out, sums = _OPS._scaled_dot_product_flash_attention_for_cpu(
            query, key, value, 0.0, is_causal, attn_mask=attn_bias, scale=scale
        )
    return out, sums, *_seeds()


def scaled_flash(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    return_debug_mask: bool = False,
    *,
    scale: float | None = None,
) -> tuple[Any, ...]:
    """Return what `_scaled_dot_product_flash_attention` does."""
    out, sums = _OPS._scaled_dot_product_flash_attention_for_cpu(query, key, value, 0.0, is_causal, scale=scale)
    seed, unused = _seeds()
    nothing = query.new_empty(0)
    return out, sums, None, None, query.shape[2], key.shape[2], seed, unused, nothing


def flash_forward(
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
    """Return what `_flash_attention_forward` does, over batches or over sequences of different lengths."""
    causal = CAUSAL_FROM_BOTTOM_RIGHT if is_causal else 0
    seed, unused = _seeds()
    if cum_seq_q is None or cum_seq_k is None:
        out, sums = attend(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), None, scale, causal)
        return out.transpose(1, 2).contiguous(), sums, seed, unused, query.new_empty(0)
    pieces = sequences(cum_seq_q, cum_seq_k)
    out, sums = _by_sequence(query, key, value, pieces, None, causal, scale)
    return out, sums, seed, unused, query.new_empty(0)


def sequences(starts_q: torch.Tensor, starts_k: torch.Tensor) -> list[tuple[slice, slice]]:
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
    require_no_bias(bias)
    out = query.new_zeros(*query.shape[:2], value.shape[-1])
    sums = query.new_zeros(query.shape[1], query.shape[0], dtype=torch.float32)
    for here, there in pieces:
        parts = one_batch(query[here]), one_batch(key[there]), one_batch(value[there])
        piece, found = attend(*parts, None, scale, causal)
        out[here], sums[:, here] = piece[0].transpose(0, 1), found[0]
    return out, sums


def require_no_bias(bias: torch.Tensor | None) -> None:
    """Raise for a bias.

    Raises:
        NotMeasuredError: if there is one.
    """
    if bias is not None:
        # No NotImplementedError: torch would try another way and hide it.
        raise NotMeasuredError(
            "The virtual device has no attention with a bias over sequences of different lengths. Use --device cuda."
        )


def one_batch(rows: torch.Tensor) -> torch.Tensor:
    """Return `[length, heads, size]` as `[1, heads, length, size]`."""
    return rows.transpose(0, 1).unsqueeze(0)
