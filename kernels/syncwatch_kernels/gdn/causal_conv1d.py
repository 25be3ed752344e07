"""The short causal convolution of prefill: each token sees the three before it, also those of an earlier batch."""

# Axis and block sizes keep the capitals of the mathematics.
# ruff: noqa: N803

from __future__ import annotations

import torch
import triton
import triton.language as tl

from syncwatch_kernels.gdn.index import resolve_chunk_indices
from syncwatch_kernels.gdn.numerics import CHUNK_SIZE, CONV_WIDTH, device_function, kernel, narrow
from syncwatch_kernels.gdn.validate import (
    LOW_PRECISION,
    require_dense_tokens,
    require_dims,
    require_dtype,
    require_same_device,
    require_shape,
)

_BLOCK_CHANNELS = 128


@device_function
def _load_inputs(
    x: tl.tensor, initial_state: tl.tensor, bos: tl.tensor, i_n: tl.tensor, o_p: tl.tensor, m_p: tl.tensor,
    o_d: tl.tensor, stride_x: tl.tensor, C: tl.constexpr, W: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Load positions `o_p` of sequence `i_n`; those before its start come from its initial state."""
    m_d = (o_d < C)[None, :]
    m_new = (m_p & (o_p >= 0))[:, None] & m_d
    b_x = tl.load(x + (bos + o_p)[:, None] * stride_x + o_d[None, :], mask=m_new, other=0.0).to(tl.float32)
    if initial_state is not None:
        o_past = o_p + (W - 1)
        m_old = (m_p & (o_p < 0))[:, None] & m_d
        p_old = initial_state + (i_n * (W - 1) + o_past)[:, None] * C + o_d[None, :]
        b_x += tl.load(p_old, mask=m_old, other=0.0).to(tl.float32)
    return b_x


@kernel(index_pointers=("cu_seqlens", "chunk_indices"))
def causal_conv1d_fwd_kernel(
    x: tl.tensor,
    weight: tl.tensor,
    initial_state: tl.tensor,
    y: tl.tensor,
    cu_seqlens: tl.tensor,
    chunk_indices: tl.tensor,
    stride_x: tl.tensor,
    C: tl.constexpr,
    W: tl.constexpr,
    BT: tl.constexpr,
    BD: tl.constexpr,
) -> None:
    """Convolve `BD` channels of one chunk, then SiLU."""
    i_t = tl.program_id(0).to(tl.int64)
    o_d = tl.program_id(1) * BD + tl.arange(0, BD)
    i_n = tl.load(chunk_indices + i_t * 2).to(tl.int64)
    i_c = tl.load(chunk_indices + i_t * 2 + 1).to(tl.int64)
    bos = tl.load(cu_seqlens + i_n).to(tl.int64)
    eos = tl.load(cu_seqlens + i_n + 1).to(tl.int64)

    o_p = i_c * BT + tl.arange(0, BT)
    m_p = o_p < eos - bos
    b_y = tl.full((BT, BD), 0.0, dtype=tl.float32)
    for tap in tl.static_range(W):
        b_weight = tl.load(weight + o_d * W + tap, mask=o_d < C, other=0.0).to(tl.float32)  # [BD]
        o_tap = o_p + (tap - (W - 1))
        b_x = _load_inputs(x, initial_state, bos, i_n, o_tap, m_p, o_d, stride_x, C, W)  # [BT, BD]
        b_y += b_x * b_weight[None, :]
    b_y = b_y / (1.0 + tl.exp(-b_y))
    p_y = y + (bos + o_p)[:, None] * C + o_d[None, :]
    tl.store(p_y, narrow(b_y, y.dtype.element_ty), mask=m_p[:, None] & (o_d < C)[None, :])


@kernel(index_pointers=("cu_seqlens",))
def causal_conv1d_state_kernel(
    x: tl.tensor,
    initial_state: tl.tensor,
    final_state: tl.tensor,
    cu_seqlens: tl.tensor,
    stride_x: tl.tensor,
    C: tl.constexpr,
    W: tl.constexpr,
    BW: tl.constexpr,
    BD: tl.constexpr,
) -> None:
    """Write the last `W - 1` inputs of one sequence, `BD` channels."""
    i_n = tl.program_id(0).to(tl.int64)
    o_d = tl.program_id(1) * BD + tl.arange(0, BD)
    bos = tl.load(cu_seqlens + i_n).to(tl.int64)
    eos = tl.load(cu_seqlens + i_n + 1).to(tl.int64)

    o_w = tl.arange(0, BW)
    m_w = o_w < W - 1
    o_p = eos - bos - (W - 1) + o_w
    b_x = _load_inputs(x, initial_state, bos, i_n, o_p, m_w, o_d, stride_x, C, W)  # [BW, BD]
    p_final = final_state + (i_n * (W - 1) + o_w)[:, None] * C + o_d[None, :]
    tl.store(p_final, narrow(b_x, final_state.dtype.element_ty), mask=m_w[:, None] & (o_d < C)[None, :])


def _causal_conv1d_fwd(
    x: torch.Tensor, weight: torch.Tensor, cu_seqlens: torch.Tensor, chunk_indices: torch.Tensor,
    initial_state: torch.Tensor | None,
) -> torch.Tensor:  # fmt: skip
    channels = x.shape[1]
    y = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    if len(chunk_indices):
        causal_conv1d_fwd_kernel[(len(chunk_indices), triton.cdiv(channels, _BLOCK_CHANNELS))](
            x, weight, initial_state, y, cu_seqlens, chunk_indices, x.stride(0),
            C=channels, W=CONV_WIDTH, BT=CHUNK_SIZE, BD=_BLOCK_CHANNELS, num_warps=8,
        )  # fmt: skip
    return y


def _causal_conv1d_state(x: torch.Tensor, cu_seqlens: torch.Tensor, initial_state: torch.Tensor | None) -> torch.Tensor:
    channels, sequences = x.shape[1], len(cu_seqlens) - 1
    final_state = torch.empty(sequences, CONV_WIDTH - 1, channels, dtype=x.dtype, device=x.device)
    causal_conv1d_state_kernel[(sequences, triton.cdiv(channels, _BLOCK_CHANNELS))](
        x, initial_state, final_state, cu_seqlens, x.stride(0),
        C=channels, W=CONV_WIDTH, BW=CONV_WIDTH, BD=_BLOCK_CHANNELS, num_warps=4,
    )  # fmt: skip
    return final_state


def causal_conv1d(
    x: torch.Tensor,
    weight: torch.Tensor,
    cu_seqlens: torch.Tensor,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    chunk_indices: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Convolve each channel of packed sequences with its own causal filter of four taps, then SiLU.

    Args:
        x: [T, C], bfloat16 or float16; tokens may be any stride apart.
        weight: [C, 4], dtype of `x`, contiguous; the last tap is on the current token.
        cu_seqlens: int32 [N + 1], prefix sum of the lengths, zero lengths allowed; the last is T.
        initial_state: [N, 3, C], dtype of `x`, contiguous: the inputs before each sequence, oldest first; zero where
            None. It is not written to.
        output_final_state: whether the second result is wanted.
        chunk_indices: int32 [NT, 2]; found by waiting for the device where None.

    Returns:
        Contiguous [T, C] in the dtype of `x`, and the last three inputs of each sequence [N, 3, C], or None; a sequence
        shorter than that keeps the newest of its initial state. Source: the short convolution of Gated DeltaNet,
        arXiv 2412.06464, section 3.4.

    Raises:
        ValueError: if a shape, dtype or device does not fit.
    """
    require_dims("x", x, 2)
    require_dtype("x", x, LOW_PRECISION)
    require_dense_tokens("x", x, token_dim=0)
    chunk_indices = resolve_chunk_indices(cu_seqlens, chunk_indices)
    per_channel: list[tuple[str, torch.Tensor, tuple[int, ...]]] = [("weight", weight, (x.shape[1], CONV_WIDTH))]
    if initial_state is not None:
        per_channel.append(("initial_state", initial_state, (len(cu_seqlens) - 1, CONV_WIDTH - 1, x.shape[1])))
    for name, tensor, shape in per_channel:
        require_shape(name, tensor, shape)
        require_dtype(name, tensor, (x.dtype,))
        require_dense_tokens(name, tensor, token_dim=-1)
    require_same_device(
        x=x, weight=weight, cu_seqlens=cu_seqlens, initial_state=initial_state, chunk_indices=chunk_indices
    )
    y = _causal_conv1d_fwd(x, weight, cu_seqlens, chunk_indices, initial_state)
    return y, _causal_conv1d_state(x, cu_seqlens, initial_state) if output_final_state else None
