"""The short causal convolution of a decode step, from the inputs that earlier steps left in a pool."""

# Axis and block sizes keep the capitals of the mathematics.
# ruff: noqa: N803

from __future__ import annotations

from typing import Literal

import torch
import triton
import triton.language as tl

from syncwatch_kernels.gdn.decode_rows import accepted_offset, first_token, is_slot, require_rows
from syncwatch_kernels.gdn.numerics import CONV_WIDTH, kernel, loop_bound, narrow
from syncwatch_kernels.gdn.validate import (
    LOW_PRECISION,
    require_dense_tokens,
    require_dims,
    require_dtype,
    require_same_device,
    require_shape,
)

_BLOCK_CHANNELS = 256
_PAST = CONV_WIDTH - 1


@kernel(lengths=("N", "T", "pool"), index_pointers=("slots", "cu_seqlens", "num_accepted_tokens"))
def causal_conv1d_update_kernel(
    x: tl.tensor,
    weight: tl.tensor,
    bias: tl.tensor,
    conv_states: tl.tensor,
    y: tl.tensor,
    slots: tl.tensor,
    cu_seqlens: tl.tensor,
    num_accepted_tokens: tl.tensor,
    stride_x: tl.tensor,
    stride_state: tl.tensor,
    stride_slots: tl.tensor,
    N: tl.tensor,
    T: tl.tensor,
    pool: tl.tensor,
    C: tl.constexpr,
    COLUMNS: tl.constexpr,
    SILU: tl.constexpr,
    BD: tl.constexpr,
) -> None:
    """Convolve all tokens of one row, `BD` channels, with four taps."""
    i_n = tl.program_id(0).to(tl.int64)
    o_d = tl.program_id(1) * BD + tl.arange(0, BD)
    m_d = o_d < C
    bos = first_token(cu_seqlens, i_n)
    eos = first_token(cu_seqlens, i_n + 1)
    slot = tl.load(slots + i_n * stride_slots).to(tl.int64)
    p_past = conv_states + slot * stride_state + o_d
    p_state = p_past
    end = eos
    if num_accepted_tokens is not None:
        p_past += accepted_offset(num_accepted_tokens, i_n, COLUMNS) * C
        end = tl.minimum(eos, bos + COLUMNS)
    runs = is_slot(slot, pool) & (end > bos)
    end = tl.where(runs, end, bos)
    m_state = m_d & runs

    b_x0 = tl.load(p_past, mask=m_state, other=0.0)  # [BD], oldest first
    b_x1 = tl.load(p_past + C, mask=m_state, other=0.0)
    b_x2 = tl.load(p_past + 2 * C, mask=m_state, other=0.0)
    if num_accepted_tokens is not None:
        # Position 2 + t of the state is token t, so the two newest inputs from before the step go to the front.
        tl.store(p_state, b_x1, mask=m_state)
        tl.store(p_state + C, b_x2, mask=m_state)
    # All four taps are loaded at once: one tap is 2 bytes in every 8, and loading it alone touches four times as many
    # memory sectors as its bytes need.
    b_weight = tl.load(weight + o_d[:, None] * 4 + tl.arange(0, 4)[None, :], mask=m_d[:, None], other=0.0)
    b_even, b_odd = tl.split(tl.reshape(b_weight.to(tl.float32), (BD, 2, 2)))
    b_w0, b_w2 = tl.split(b_even)  # [BD]
    b_w1, b_w3 = tl.split(b_odd)
    b_bias = tl.full((BD,), 0.0, dtype=tl.float32)
    if bias is not None:
        b_bias += tl.load(bias + o_d, mask=m_d, other=0.0).to(tl.float32)

    for t in range(loop_bound(bos), loop_bound(end)):
        b_x3 = tl.load(x + t * stride_x + o_d, mask=m_d, other=0.0)
        b_y = b_bias + b_x0.to(tl.float32) * b_w0 + b_x1.to(tl.float32) * b_w1
        b_y += b_x2.to(tl.float32) * b_w2 + b_x3.to(tl.float32) * b_w3
        if SILU:
            b_y = b_y / (1.0 + tl.exp(-b_y))
        tl.store(y + t * C + o_d, narrow(b_y, y.dtype.element_ty), mask=m_d)
        if num_accepted_tokens is not None:
            tl.store(p_state + (t - bos + 2) * C, b_x3, mask=m_d)
        b_x0, b_x1, b_x2 = b_x1, b_x2, b_x3
    if num_accepted_tokens is None:
        tl.store(p_state, b_x0, mask=m_state)
        tl.store(p_state + C, b_x1, mask=m_state)
        tl.store(p_state + 2 * C, b_x2, mask=m_state)

    b_zero = tl.full((BD,), 0.0, dtype=y.dtype.element_ty)
    for t in range(loop_bound(end), loop_bound(eos)):
        tl.store(y + t * C + o_d, b_zero, mask=m_d)
    if cu_seqlens is not None:
        # Tokens past the last row's end, as in a captured batch that is not full, are zeroed by all rows in turn.
        for t in range(loop_bound(tl.load(cu_seqlens + N).to(tl.int64) + i_n), loop_bound(T), loop_bound(N)):
            tl.store(y + t * C + o_d, b_zero, mask=m_d)


def _causal_conv1d_update(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, conv_states: torch.Tensor, slots: torch.Tensor,
    cu_seqlens: torch.Tensor | None, num_accepted_tokens: torch.Tensor | None, silu: bool,
) -> torch.Tensor:  # fmt: skip
    tokens, channels = x.shape
    rows = slots.shape[0]
    y = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    if rows:
        causal_conv1d_update_kernel[(rows, triton.cdiv(channels, _BLOCK_CHANNELS))](
            x, weight, bias, conv_states, y, slots, cu_seqlens, num_accepted_tokens,
            x.stride(0), conv_states.stride(0), slots.stride(0), rows, tokens, conv_states.shape[0],
            C=channels, COLUMNS=conv_states.shape[1] - _PAST + 1, SILU=silu, BD=_BLOCK_CHANNELS, num_warps=1,
        )  # fmt: skip
    return y


def causal_conv1d_update(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    conv_states: torch.Tensor,
    slots: torch.Tensor,
    cu_seqlens: torch.Tensor | None = None,
    num_accepted_tokens: torch.Tensor | None = None,
    activation: Literal["silu"] | None = "silu",
) -> torch.Tensor:
    """Convolve each channel of a decode batch with its own causal filter, from states in a pool, in place.

    Plain form: row n begins with the three inputs at the front of its state and leaves its newest three there, as
    `causal_conv1d` does.

    Speculative form, with `num_accepted_tokens` and a pool S inputs deeper for S drafts: row n begins
    num_accepted_tokens[n] - 1 inputs into its state. It leaves the two newest inputs from before the step, then its
    tokens. So the next count alone says which drafts were accepted. A count below 1 means 1, one above S + 1 means
    S + 1. A prefill's state, put at the front, has a count of 1. A row without drafts takes part with one token, and
    its next count is 1. Tokens past the S + 1 of the window are not computed; their outputs are zero.

    A slot outside 1 .. slots - 1 (0: null block; -1: padding) is no slot: its row is skipped and the outputs are zero.
    No two rows may share a slot.

    Args:
        x: [T, C], bfloat16 or float16; tokens may be any stride apart.
        weight: [C, 4], dtype of `x`, contiguous; the last tap is on the current token.
        bias: [C], dtype of `x`, contiguous; none where None.
        conv_states: [slots, 3 + S, C], dtype of `x`, oldest input first, written to; slots may be any stride apart.
        slots: int32 [N], any stride, so that the first column of a block table will do.
        cu_seqlens: int32 [N + 1], prefix sum of the rows' tokens; zero lengths are allowed, and the outputs of tokens
            past the last are zero. Where None, each row has one token, and T is N.
        num_accepted_tokens: int32 [N]: how many tokens of the last step were accepted, the first included.
        activation: what is applied to the sum.

    Returns:
        Contiguous [T, C] in the dtype of `x`. Source: the short convolution of Gated DeltaNet, arXiv 2412.06464,
        section 3.4.

    Raises:
        ValueError: if a shape, dtype or device does not fit.
    """
    require_dims("x", x, 2)
    require_dtype("x", x, LOW_PRECISION)
    require_dense_tokens("x", x, token_dim=0)
    require_dims("conv_states", conv_states, 3)
    require_dense_tokens("conv_states", conv_states, token_dim=0)
    depth = max(conv_states.shape[1], _PAST)
    per_channel: list[tuple[str, torch.Tensor, tuple[int, ...]]] = [
        ("weight", weight, (x.shape[1], CONV_WIDTH)),
        ("conv_states", conv_states, (conv_states.shape[0], depth, x.shape[1])),
    ]
    if bias is not None:
        per_channel.append(("bias", bias, (x.shape[1],)))
    for name, tensor, shape in per_channel:
        require_shape(name, tensor, shape)
        require_dtype(name, tensor, (x.dtype,))
        require_dense_tokens(name, tensor, token_dim=0)
    if not weight.is_contiguous() or (bias is not None and not bias.is_contiguous()):
        raise ValueError("weight and bias must be contiguous; call .contiguous() on them.")
    if activation not in ("silu", None):
        raise ValueError(f"activation must be 'silu' or None, but is {activation!r}.")
    require_dims("slots", slots, 1)
    require_rows(x.shape[0], slots, cu_seqlens, num_accepted_tokens)
    require_same_device(x=x, weight=weight, bias=bias, conv_states=conv_states, slots=slots)
    return _causal_conv1d_update(
        x, weight, bias, conv_states, slots, cu_seqlens, num_accepted_tokens, activation == "silu"
    )  # fmt: skip
