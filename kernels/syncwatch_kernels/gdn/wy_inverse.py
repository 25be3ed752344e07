"""Answers: what undoes the delta rule's corrections inside a chunk? The inverse of one triangular matrix.

A[i, j] = beta_i <k_i, k_j> exp(g_i - g_j) for i > j. Its powers can grow like binomial coefficients although the
inverse of I + A stays small, so the inverse is built by substitution in float32 and not as a product of powers. With X
the inverse of the diagonal blocks of n rows, and E the part of A that joins them in pairs, X - X E X is the inverse of
the blocks of 2n rows. That gives the four diagonal blocks of 16 rows; the blocks below them are
X_ij = -X_ii sum_k A_ik X_kj.
"""

# Axis and block sizes keep the capitals of the mathematics.
# ruff: noqa: N803, N806

from __future__ import annotations

import torch
import triton.language as tl

from syncwatch_kernels.gdn.constants import BLOCK_SIZE, CHUNK_SIZE
from syncwatch_kernels.gdn.index import resolve_chunk_indices
from syncwatch_kernels.gdn.launch import device_function, kernel
from syncwatch_kernels.gdn.numerics import dot, narrow, sum_over
from syncwatch_kernels.gdn.validate import (
    LOW_PRECISION,
    require_dense_tokens,
    require_dims,
    require_dtype,
    require_grouped_heads,
    require_head_dim,
    require_same_device,
    require_shape,
)


@device_function
def _load_block(
    p_k: tl.tensor, p_g: tl.tensor, p_beta: tl.tensor, row: tl.constexpr, rows: tl.tensor,
    stride_k: tl.constexpr, stride_g: tl.constexpr, K: tl.constexpr, BC: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor, tl.tensor, tl.tensor]:  # fmt: skip
    """Load keys [BC, K], decay, strength and mask [BC] of the block that begins at `row` of the chunk."""
    o_r = row + tl.arange(0, BC)
    m_r = o_r < rows
    o_k = tl.arange(0, K)
    b_k = tl.load(p_k + o_r[:, None] * stride_k + o_k[None, :], mask=m_r[:, None], other=0.0)
    b_g = tl.load(p_g + o_r * stride_g, mask=m_r, other=0.0)
    b_beta = tl.load(p_beta + o_r * stride_g, mask=m_r, other=0.0)
    return b_k, b_g, b_beta, m_r


@device_function
def _decayed_products(
    b_ki: tl.tensor, b_kj: tl.tensor, b_gi: tl.tensor, b_gj: tl.tensor, b_beta: tl.tensor, m_i: tl.tensor
) -> tl.tensor:
    """Return one block of A that lies wholly below the diagonal."""
    b_decay = tl.exp(tl.where(m_i[:, None], b_gi[:, None] - b_gj[None, :], float("-inf")))  # [BC, BC]
    return dot(b_ki, tl.trans(b_kj)) * b_beta[:, None] * b_decay


@device_function
def _pick_block(b_x3: tl.tensor, i: tl.constexpr, BLOCKS: tl.constexpr) -> tl.tensor:
    """Return block `i` of a stack of them."""
    o_b = tl.arange(0, BLOCKS)
    return sum_over(tl.where(o_b[:, None, None] == i, b_x3, 0.0), 0)


@device_function
def _join_halves(b_a: tl.tensor, b_x: tl.tensor, o_row: tl.tensor, o_col: tl.tensor, half: tl.constexpr) -> tl.tensor:
    """Given the inverses of diagonal blocks of `half` rows, return those of twice as many."""
    m_new = (o_row // (2 * half) == o_col // (2 * half)) & (o_row // half != o_col // half)
    return b_x - dot(b_x, dot(tl.where(m_new, b_a, 0.0), b_x))


@kernel(index_pointers=("cu_seqlens", "chunk_indices"))
def wy_inverse_fwd_kernel(
    k: tl.tensor,
    g_sum: tl.tensor,
    beta: tl.tensor,
    inverse: tl.tensor,
    cu_seqlens: tl.tensor,
    chunk_indices: tl.tensor,
    Hk: tl.constexpr,
    Hv: tl.constexpr,
    K: tl.constexpr,
    BT: tl.constexpr,
    BC: tl.constexpr,
) -> None:
    """Invert I + A of one chunk and one value head."""
    i_t = tl.program_id(0).to(tl.int64)
    i_h = tl.program_id(1)
    i_n = tl.load(chunk_indices + i_t * 2).to(tl.int64)
    i_c = tl.load(chunk_indices + i_t * 2 + 1).to(tl.int64)
    bos = tl.load(cu_seqlens + i_n).to(tl.int64) + i_c * BT
    rows = tl.load(cu_seqlens + i_n + 1).to(tl.int64) - bos

    BLOCKS: tl.constexpr = BT // BC
    o_b = tl.arange(0, BLOCKS)
    o_c = tl.arange(0, BC)
    o_k = tl.arange(0, K)
    o_r = o_b[:, None] * BC + o_c[None, :]  # [BLOCKS, BC]
    m_r = o_r < rows
    p_k = k + bos * (Hk * K) + (i_h // (Hv // Hk)) * K
    p_g = g_sum + bos * Hv + i_h
    p_beta = beta + bos * Hv + i_h

    # The diagonal blocks, stacked: the four of them at once.
    b_k = tl.load(p_k + o_r[:, :, None] * (Hk * K) + o_k[None, None, :], mask=m_r[:, :, None], other=0.0)
    b_g = tl.load(p_g + o_r * Hv, mask=m_r, other=0.0)  # [BLOCKS, BC]
    b_beta = tl.load(p_beta + o_r * Hv, mask=m_r, other=0.0)  # [BLOCKS, BC]
    o_row, o_col = o_c[None, :, None], o_c[None, None, :]
    m_below = (o_row > o_col) & m_r[:, :, None]
    # The mask goes inside the exponential: above the diagonal the difference is positive and may overflow.
    b_decay = tl.exp(tl.where(m_below, b_g[:, :, None] - b_g[:, None, :], float("-inf")))
    b_a = dot(b_k, tl.permute(b_k, (0, 2, 1))) * b_beta[:, :, None] * b_decay  # [BLOCKS, BC, BC]
    b_x = tl.where((o_row == o_col) & (o_b >= 0)[:, None, None], 1.0, 0.0)  # [BLOCKS, BC, BC]
    b_x -= tl.where(o_row // 2 == o_col // 2, b_a, 0.0)
    b_x = _join_halves(b_a, b_x, o_row, o_col, 2)
    b_x = _join_halves(b_a, b_x, o_row, o_col, 4)
    b_x = _join_halves(b_a, b_x, o_row, o_col, 8)
    b_x00 = _pick_block(b_x, 0, BLOCKS)  # [BC, BC]
    b_x11 = _pick_block(b_x, 1, BLOCKS)
    b_x22 = _pick_block(b_x, 2, BLOCKS)
    b_x33 = _pick_block(b_x, 3, BLOCKS)

    b_k0, b_g0, _, _ = _load_block(p_k, p_g, p_beta, 0, rows, Hk * K, Hv, K, BC)
    b_k1, b_g1, b_beta1, m_1 = _load_block(p_k, p_g, p_beta, BC, rows, Hk * K, Hv, K, BC)
    b_k2, b_g2, b_beta2, m_2 = _load_block(p_k, p_g, p_beta, 2 * BC, rows, Hk * K, Hv, K, BC)
    b_k3, b_g3, b_beta3, m_3 = _load_block(p_k, p_g, p_beta, 3 * BC, rows, Hk * K, Hv, K, BC)
    b_a10 = _decayed_products(b_k1, b_k0, b_g1, b_g0, b_beta1, m_1)  # [BC, BC]
    b_a20 = _decayed_products(b_k2, b_k0, b_g2, b_g0, b_beta2, m_2)
    b_a21 = _decayed_products(b_k2, b_k1, b_g2, b_g1, b_beta2, m_2)
    b_a30 = _decayed_products(b_k3, b_k0, b_g3, b_g0, b_beta3, m_3)
    b_a31 = _decayed_products(b_k3, b_k1, b_g3, b_g1, b_beta3, m_3)
    b_a32 = _decayed_products(b_k3, b_k2, b_g3, b_g2, b_beta3, m_3)

    b_x10 = -dot(b_x11, dot(b_a10, b_x00))
    b_x21 = -dot(b_x22, dot(b_a21, b_x11))
    b_x32 = -dot(b_x33, dot(b_a32, b_x22))
    b_x20 = -dot(b_x22, dot(b_a20, b_x00) + dot(b_a21, b_x10))
    b_x31 = -dot(b_x33, dot(b_a31, b_x11) + dot(b_a32, b_x21))
    b_x30 = -dot(b_x33, dot(b_a30, b_x00) + dot(b_a31, b_x10) + dot(b_a32, b_x20))

    p_chunk = inverse + (bos * Hv + i_h) * BT
    p_diagonal = p_chunk + o_r[:, :, None] * (Hv * BT) + (o_b[:, None] * BC + o_c[None, :])[:, None, :]
    tl.store(p_diagonal, narrow(b_x, inverse.dtype.element_ty), mask=m_r[:, :, None])
    p_1 = p_chunk + (o_c[:, None] + BC) * (Hv * BT) + o_c[None, :]  # [BC, BC]
    p_2 = p_1 + BC * Hv * BT
    p_3 = p_2 + BC * Hv * BT
    tl.store(p_1, narrow(b_x10, inverse.dtype.element_ty), mask=m_1[:, None])
    tl.store(p_2, narrow(b_x20, inverse.dtype.element_ty), mask=m_2[:, None])
    tl.store(p_2 + BC, narrow(b_x21, inverse.dtype.element_ty), mask=m_2[:, None])
    tl.store(p_3, narrow(b_x30, inverse.dtype.element_ty), mask=m_3[:, None])
    tl.store(p_3 + BC, narrow(b_x31, inverse.dtype.element_ty), mask=m_3[:, None])
    tl.store(p_3 + 2 * BC, narrow(b_x32, inverse.dtype.element_ty), mask=m_3[:, None])


def _wy_inverse_fwd(
    k: torch.Tensor, g_sum: torch.Tensor, beta: torch.Tensor, cu_seqlens: torch.Tensor, chunk_indices: torch.Tensor
) -> torch.Tensor:
    _, tokens, key_heads, size = k.shape
    value_heads = g_sum.shape[2]
    inverse = torch.empty(1, tokens, value_heads, CHUNK_SIZE, dtype=k.dtype, device=k.device)
    if len(chunk_indices):
        # Two warps: with one the blocks do not fit the registers of its threads.
        wy_inverse_fwd_kernel[(len(chunk_indices), value_heads)](
            k, g_sum, beta, inverse, cu_seqlens, chunk_indices,
            Hk=key_heads, Hv=value_heads, K=size, BT=CHUNK_SIZE, BC=BLOCK_SIZE, num_warps=2,
        )  # fmt: skip
    return inverse


def wy_inverse(
    k: torch.Tensor,
    g_sum: torch.Tensor,
    beta: torch.Tensor,
    cu_seqlens: torch.Tensor,
    chunk_indices: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return (I + A)^-1 of each chunk, with A as in the module's docstring.

    Args:
        k: [1, T, Hk, K], bfloat16 or float16, contiguous, of unit length; K one of 16, 32, 64, 128.
        g_sum: float32 [1, T, Hv], from `chunk_cumsum`; Hv a multiple of Hk.
        beta: float32 [1, T, Hv], contiguous.
        cu_seqlens: int32 [N + 1], prefix sum of the lengths; the last is T.
        chunk_indices: int32 [NT, 2]; found by waiting for the device where None.

    Returns:
        [1, T, Hv, 64] in the dtype of `k`: for each token its row of the inverse. Only the lower triangle means
        anything: blocks above it are never written. Source: the WY form of DeltaNet, arXiv 2406.06484, with the decay
        of arXiv 2412.06464.

    Raises:
        ValueError: if a shape, dtype, device or head ratio does not fit.
    """
    require_dims("k", k, 4, packed=True)
    require_head_dim("k", k.shape[3])
    require_dtype("k", k, LOW_PRECISION)
    require_dense_tokens("k", k, token_dim=0)
    require_dims("g_sum", g_sum, 3, packed=True)
    require_grouped_heads(k.shape[2], g_sum.shape[2])
    for name, tensor in (("g_sum", g_sum), ("beta", beta)):
        require_shape(name, tensor, (1, k.shape[1], g_sum.shape[2]))
        require_dtype(name, tensor, (torch.float32,))
        require_dense_tokens(name, tensor, token_dim=0)
    chunk_indices = resolve_chunk_indices(cu_seqlens, chunk_indices)
    require_same_device(k=k, g_sum=g_sum, beta=beta, cu_seqlens=cu_seqlens, chunk_indices=chunk_indices)
    return _wy_inverse_fwd(k, g_sum, beta, cu_seqlens, chunk_indices)
