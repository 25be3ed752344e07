"""Answers: what would each chunk write if the state were empty (u), and what does it take back from the state (w)?"""

# Axis and block sizes keep the capitals of the mathematics.
# ruff: noqa: N803

from __future__ import annotations

import torch
import triton.language as tl

from syncwatch_kernels.gdn.constants import CHUNK_SIZE
from syncwatch_kernels.gdn.index import resolve_chunk_indices
from syncwatch_kernels.gdn.launch import kernel
from syncwatch_kernels.gdn.numerics import dot, narrow
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


@kernel(index_pointers=("cu_seqlens", "chunk_indices"))
def wy_factors_fwd_kernel(
    k: tl.tensor,
    v: tl.tensor,
    g_sum: tl.tensor,
    beta: tl.tensor,
    inverse: tl.tensor,
    w: tl.tensor,
    u: tl.tensor,
    cu_seqlens: tl.tensor,
    chunk_indices: tl.tensor,
    stride_v: tl.tensor,
    Hk: tl.constexpr,
    Hv: tl.constexpr,
    K: tl.constexpr,
    V: tl.constexpr,
    BT: tl.constexpr,
) -> None:
    """Write w and u of one chunk and one value head."""
    i_t = tl.program_id(0).to(tl.int64)
    i_h = tl.program_id(1)
    i_n = tl.load(chunk_indices + i_t * 2).to(tl.int64)
    i_c = tl.load(chunk_indices + i_t * 2 + 1).to(tl.int64)
    bos = tl.load(cu_seqlens + i_n).to(tl.int64)
    eos = tl.load(cu_seqlens + i_n + 1).to(tl.int64)

    o_t = bos + i_c * BT + tl.arange(0, BT)
    o_c = tl.arange(0, BT)
    o_k = tl.arange(0, K)
    o_v = tl.arange(0, V)
    m_t = o_t < eos
    b_g = tl.load(g_sum + o_t * Hv + i_h, mask=m_t, other=0.0)  # [BT]
    b_beta = tl.load(beta + o_t * Hv + i_h, mask=m_t, other=0.0)  # [BT]
    p_inverse = inverse + (o_t[:, None] * Hv + i_h) * BT + o_c[None, :]
    m_lower = m_t[:, None] & (o_c[:, None] >= o_c[None, :])
    b_inverse = tl.load(p_inverse, mask=m_lower, other=0.0)  # [BT, BT]

    p_v = v + o_t[:, None] * stride_v + i_h * V + o_v[None, :]
    b_v = tl.load(p_v, mask=m_t[:, None], other=0.0).to(tl.float32) * b_beta[:, None]  # [BT, V]
    b_u = dot(b_inverse, narrow(b_v, u.dtype.element_ty))  # [BT, V]
    p_u = u + (o_t[:, None] * Hv + i_h) * V + o_v[None, :]
    tl.store(p_u, narrow(b_u, u.dtype.element_ty), mask=m_t[:, None])

    p_k = k + o_t[:, None] * (Hk * K) + (i_h // (Hv // Hk)) * K + o_k[None, :]
    b_k = tl.load(p_k, mask=m_t[:, None], other=0.0).to(tl.float32) * (b_beta * tl.exp(b_g))[:, None]  # [BT, K]
    b_w = dot(b_inverse, narrow(b_k, w.dtype.element_ty))  # [BT, K]
    p_w = w + (o_t[:, None] * Hv + i_h) * K + o_k[None, :]
    tl.store(p_w, narrow(b_w, w.dtype.element_ty), mask=m_t[:, None])


def _wy_factors_fwd(
    k: torch.Tensor, v: torch.Tensor, g_sum: torch.Tensor, beta: torch.Tensor, inverse: torch.Tensor,
    cu_seqlens: torch.Tensor, chunk_indices: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    _, tokens, key_heads, key_size = k.shape
    _, _, value_heads, value_size = v.shape
    w = torch.empty(1, tokens, value_heads, key_size, dtype=k.dtype, device=k.device)
    u = torch.empty(1, tokens, value_heads, value_size, dtype=k.dtype, device=k.device)
    if len(chunk_indices):
        wy_factors_fwd_kernel[(len(chunk_indices), value_heads)](
            k, v, g_sum, beta, inverse, w, u, cu_seqlens, chunk_indices, v.stride(1),
            Hk=key_heads, Hv=value_heads, K=key_size, V=value_size, BT=CHUNK_SIZE, num_warps=4,
        )  # fmt: skip
    return w, u


def wy_factors(
    k: torch.Tensor,
    v: torch.Tensor,
    g_sum: torch.Tensor,
    beta: torch.Tensor,
    inverse: torch.Tensor,
    cu_seqlens: torch.Tensor,
    chunk_indices: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return w = (I + A)^-1 (beta exp(g) k) and u = (I + A)^-1 (beta v).

    Args:
        k: [1, T, Hk, K], bfloat16 or float16, contiguous; K one of 16, 32, 64, 128.
        v: [1, T, Hv, V], dtype of `k`; V one of 16, 32, 64, 128; tokens may be any stride apart.
        g_sum: float32 [1, T, Hv], from `chunk_cumsum`.
        beta: float32 [1, T, Hv], contiguous.
        inverse: [1, T, Hv, 64], dtype of `k`, from `wy_inverse`; read below and on the diagonal only.
        cu_seqlens: int32 [N + 1], prefix sum of the lengths; the last is T.
        chunk_indices: int32 [NT, 2]; found by waiting for the device where None.

    Returns:
        w [1, T, Hv, K] and u [1, T, Hv, V] in the dtype of `k`. Source: arXiv 2406.06484, section 3.2, and
        arXiv 2412.06464, section 3.3.

    Raises:
        ValueError: if a shape, dtype, device or head ratio does not fit.
    """
    require_dims("k", k, 4, packed=True)
    require_dims("v", v, 4, packed=True)
    require_head_dim("k", k.shape[3])
    require_head_dim("v", v.shape[3])
    require_grouped_heads(k.shape[2], v.shape[2])
    require_dtype("k", k, LOW_PRECISION)
    require_dtype("v", v, (k.dtype,))
    require_dtype("inverse", inverse, (k.dtype,))
    require_dense_tokens("k", k, token_dim=0)
    require_dense_tokens("v", v, token_dim=1)
    per_head = (1, k.shape[1], v.shape[2])
    require_shape("v", v, (*per_head, v.shape[3]))
    require_shape("inverse", inverse, (*per_head, CHUNK_SIZE))
    require_dense_tokens("inverse", inverse, token_dim=0)
    for name, tensor in (("g_sum", g_sum), ("beta", beta)):
        require_shape(name, tensor, per_head)
        require_dtype(name, tensor, (torch.float32,))
        require_dense_tokens(name, tensor, token_dim=0)
    chunk_indices = resolve_chunk_indices(cu_seqlens, chunk_indices)
    require_same_device(
        k=k, v=v, g_sum=g_sum, beta=beta, inverse=inverse, cu_seqlens=cu_seqlens, chunk_indices=chunk_indices
    )
    return _wy_factors_fwd(k, v, g_sum, beta, inverse, cu_seqlens, chunk_indices)
