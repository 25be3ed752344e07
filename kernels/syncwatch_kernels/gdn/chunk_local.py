"""Computes, for all chunks at once, what a chunk needs that does not depend on the state before it.

A[i, j] = beta_i <k_i, k_j> exp(G_i - G_j) for i > j. Its powers can grow like binomial coefficients although the
inverse of I + A stays small, so the inverse is built by joining blocks and not as a product of powers. With X the
inverse of the diagonal blocks of n rows, the blocks that X - X A X adds to it are those of the inverse of the diagonal
blocks of 2n rows; from the blocks of 2 rows, whose inverse is I - A, to the 64 of the chunk it takes five steps.
"""

# Axis and block sizes keep the capitals of the mathematics.
# ruff: noqa: N803

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton.language as tl

from syncwatch_kernels.gdn.numerics import CHUNK_SIZE, L2_NORM_EPS, device_function, dot, kernel, narrow, sum_over


@dataclass(frozen=True, slots=True)
class ChunkLocal:
    """What `chunk_scan` needs of each chunk and value head; zero in rows and columns past the end of a sequence."""

    inverse: torch.Tensor
    """[NT, Hv, 64, 64], dtype of the keys: (I + A)^-1 diag(beta)."""

    attention: torch.Tensor
    """[NT, Hv, 64, 64], dtype of the keys: scale <q_i, k_j> exp(G_i - G_j) for i >= j, otherwise 0."""

    gates: torch.Tensor
    """float32 [NT, Hv, 4, 64]: exp(G_i) times what scales k_i to unit length; exp(G_last - G_i) times the same;
    exp(G_i) times what scales q_i to the length `scale`; exp(G_i)."""


@device_function
def _scale_to_unit(b_x: tl.tensor, eps: tl.tensor) -> tl.tensor:
    """Return the factor that brings each row to unit length; 0 for a row of zeros, which stays zero."""
    b_wide = b_x.to(tl.float32)
    b_square = sum_over(b_wide * b_wide, 1)
    return tl.where(b_square > 0.0, 1.0 / tl.sqrt(b_square + eps), 0.0)


@device_function
def _join_pairs(b_a: tl.tensor, b_x: tl.tensor, half: tl.constexpr) -> tl.tensor:
    """Given -A and the inverses of the diagonal blocks of `half` rows, return those of blocks twice as large.

    For keys of unit length every factor lies between -1 and 1, where float16 keeps 11 bits. The mask for the blocks
    that are joined here is put on the product and not on -A, so that -A is the same in all five steps.
    """
    o_half = tl.arange(0, b_x.shape[0]) // half
    b_joined = tl.where(o_half[None, :] == (o_half ^ 1)[:, None], 1.0, 0.0).to(tl.float16)
    return b_x + dot(b_x, dot(b_a, b_x).to(tl.float16)).to(tl.float16) * b_joined


@kernel(index_pointers=("cu_seqlens", "chunk_indices"))
def chunk_local_fwd_kernel(
    q: tl.tensor,
    k: tl.tensor,
    g: tl.tensor,
    beta: tl.tensor,
    inverse: tl.tensor,
    attention: tl.tensor,
    gates: tl.tensor,
    cu_seqlens: tl.tensor,
    chunk_indices: tl.tensor,
    eps: tl.tensor,
    scale: tl.tensor,
    stride_q: tl.tensor,
    stride_k: tl.tensor,
    Hk: tl.constexpr,
    Hv: tl.constexpr,
    K: tl.constexpr,
    BT: tl.constexpr,
    UNIT: tl.constexpr,
) -> None:
    """Prepare one chunk of one value head."""
    # Heads are the fastest axis, so that value heads that share a key head run together and find it in the cache.
    i_h = tl.program_id(0)
    i_t = tl.program_id(1).to(tl.int64)
    i_n = tl.load(chunk_indices + i_t * 2).to(tl.int64)
    i_c = tl.load(chunk_indices + i_t * 2 + 1).to(tl.int64)
    bos = tl.load(cu_seqlens + i_n).to(tl.int64) + i_c * BT
    rows = tl.load(cu_seqlens + i_n + 1).to(tl.int64) - bos

    o_c = tl.arange(0, BT)
    o_k = (i_h // (Hv // Hk)) * K + tl.arange(0, K)
    m_c = o_c < rows
    b_k = tl.load(k + (bos + o_c)[:, None] * stride_k + o_k[None, :], mask=m_c[:, None], other=0.0)  # [BT, K]
    b_q = tl.load(q + (bos + o_c)[:, None] * stride_q + o_k[None, :], mask=m_c[:, None], other=0.0)  # [BT, K]
    b_g = tl.load(g + (bos + o_c) * Hv + i_h, mask=m_c, other=0.0)  # [BT]
    b_beta = tl.load(beta + (bos + o_c) * Hv + i_h, mask=m_c, other=0.0)  # [BT]
    b_k_scale = tl.where(m_c, 1.0, 0.0)  # [BT]
    b_q_scale = b_k_scale * scale  # [BT]
    if UNIT:
        b_k_scale = _scale_to_unit(b_k, eps)
        b_q_scale = _scale_to_unit(b_q, eps) * scale

    b_sum = tl.cumsum(b_g, axis=0)
    b_since = tl.exp(b_sum)
    p_gates = gates + (i_t * Hv + i_h) * (4 * BT) + o_c
    tl.store(p_gates, b_since * b_k_scale)
    tl.store(p_gates + BT, tl.exp(sum_over(b_g, 0) - b_sum) * b_k_scale)
    tl.store(p_gates + 2 * BT, b_since * b_q_scale)
    tl.store(p_gates + 3 * BT, b_since)

    # The mask goes inside the exponential: above the diagonal the difference is positive and may overflow.
    o_row, o_col = o_c[:, None], o_c[None, :]
    b_decay = tl.exp(tl.where(o_row >= o_col, b_sum[:, None] - b_sum[None, :], float("-inf")))  # [BT, BT]
    b_decay *= b_k_scale[None, :]
    p_tile = (i_t * Hv + i_h) * (BT * BT) + o_row * BT + o_col
    b_p = dot(b_q, tl.trans(b_k)) * b_decay * b_q_scale[:, None]  # [BT, BT]
    tl.store(attention + p_tile, narrow(b_p, attention.dtype.element_ty))

    b_a = dot(b_k, tl.trans(b_k)) * b_decay * (-b_beta * b_k_scale)[:, None]
    b_a = tl.where(o_row > o_col, b_a, 0.0).to(tl.float16)  # [BT, BT]
    b_x = tl.where(o_row // 2 == o_col // 2, b_a, 0.0) + tl.where(o_row == o_col, 1.0, 0.0).to(tl.float16)  # [BT, BT]
    b_x = _join_pairs(b_a, b_x, 2)
    b_x = _join_pairs(b_a, b_x, 4)
    b_x = _join_pairs(b_a, b_x, 8)
    b_x = _join_pairs(b_a, b_x, 16)
    b_x = _join_pairs(b_a, b_x, 32)
    tl.store(inverse + p_tile, narrow(b_x.to(tl.float32) * b_beta[None, :], inverse.dtype.element_ty))


def chunk_local(
    q: torch.Tensor,
    k: torch.Tensor,
    g: torch.Tensor,
    beta: torch.Tensor,
    cu_seqlens: torch.Tensor,
    chunk_indices: torch.Tensor,
    unit_length: bool,
    scale: float,
) -> ChunkLocal:
    """Prepare every chunk. The arguments are those of `chunk_gated_delta_rule`, which has checked them.

    Source: the WY form of DeltaNet, arXiv 2406.06484, with the decay of arXiv 2412.06464, section 3.3.
    """
    _, _, key_heads, key_size = k.shape
    chunks, value_heads = len(chunk_indices), g.shape[2]
    tiles = (chunks, value_heads, CHUNK_SIZE, CHUNK_SIZE)
    local = ChunkLocal(
        inverse=torch.empty(tiles, dtype=k.dtype, device=k.device),
        attention=torch.empty(tiles, dtype=k.dtype, device=k.device),
        gates=torch.empty(chunks, value_heads, 4, CHUNK_SIZE, dtype=torch.float32, device=k.device),
    )
    if chunks:
        # 128 registers let four programs share a multiprocessor: 198 us against 209 on an H200 at 16/64 heads, 1x8192.
        chunk_local_fwd_kernel[(value_heads, chunks)](
            q, k, g, beta, local.inverse, local.attention, local.gates, cu_seqlens, chunk_indices, L2_NORM_EPS, scale,
            q.stride(1), k.stride(1),
            Hk=key_heads, Hv=value_heads, K=key_size, BT=CHUNK_SIZE, UNIT=unit_length, num_warps=4, maxnreg=128,
        )  # fmt: skip
    return local
