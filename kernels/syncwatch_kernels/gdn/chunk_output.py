"""Answers: what does each query read, from the state before its chunk and from its own chunk?"""

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
def chunk_output_fwd_kernel(
    q: tl.tensor,
    k: tl.tensor,
    corrected: tl.tensor,
    states: tl.tensor,
    g_sum: tl.tensor,
    o: tl.tensor,
    cu_seqlens: tl.tensor,
    chunk_indices: tl.tensor,
    scale: tl.tensor,
    Hk: tl.constexpr,
    Hv: tl.constexpr,
    K: tl.constexpr,
    V: tl.constexpr,
    BT: tl.constexpr,
) -> None:
    """Write the output of one chunk and one value head."""
    i_t = tl.program_id(0).to(tl.int64)
    i_h = tl.program_id(1)
    i_n = tl.load(chunk_indices + i_t * 2).to(tl.int64)
    i_c = tl.load(chunk_indices + i_t * 2 + 1).to(tl.int64)
    bos = tl.load(cu_seqlens + i_n).to(tl.int64)
    eos = tl.load(cu_seqlens + i_n + 1).to(tl.int64)

    o_c = tl.arange(0, BT)
    o_t = bos + i_c * BT + o_c
    o_k = tl.arange(0, K)
    o_v = tl.arange(0, V)
    m_t = o_t < eos
    p_qk = o_t[:, None] * (Hk * K) + (i_h // (Hv // Hk)) * K + o_k[None, :]
    b_q = tl.load(q + p_qk, mask=m_t[:, None], other=0.0)  # [BT, K]
    b_k = tl.load(k + p_qk, mask=m_t[:, None], other=0.0)  # [BT, K]
    b_g = tl.load(g_sum + o_t * Hv + i_h, mask=m_t, other=0.0)  # [BT]
    b_h = tl.load(states + (i_t * Hv + i_h) * (V * K) + o_v[None, :] * K + o_k[:, None])  # [K, V]
    p_o = (o_t[:, None] * Hv + i_h) * V + o_v[None, :]
    b_v = tl.load(corrected + p_o, mask=m_t[:, None], other=0.0)  # [BT, V]

    b_o = dot(b_q, b_h) * tl.exp(b_g)[:, None]  # [BT, V]
    m_seen = (o_c[:, None] >= o_c[None, :]) & m_t[:, None]
    b_decay = tl.exp(tl.where(m_seen, b_g[:, None] - b_g[None, :], float("-inf")))  # [BT, BT]
    b_p = dot(b_q, tl.trans(b_k)) * b_decay
    b_o += dot(narrow(b_p, b_v.dtype), b_v)
    tl.store(o + p_o, narrow(b_o * scale, o.dtype.element_ty), mask=m_t[:, None])


def _chunk_output_fwd(
    q: torch.Tensor, k: torch.Tensor, corrected: torch.Tensor, states: torch.Tensor, g_sum: torch.Tensor,
    cu_seqlens: torch.Tensor, chunk_indices: torch.Tensor, scale: float,
) -> torch.Tensor:  # fmt: skip
    _, _, key_heads, key_size = k.shape
    _, _, value_heads, value_size = corrected.shape
    o = torch.empty(corrected.shape, dtype=q.dtype, device=q.device)
    if len(chunk_indices):
        chunk_output_fwd_kernel[(len(chunk_indices), value_heads)](
            q, k, corrected, states, g_sum, o, cu_seqlens, chunk_indices, scale,
            Hk=key_heads, Hv=value_heads, K=key_size, V=value_size, BT=CHUNK_SIZE, num_warps=8,
        )  # fmt: skip
    return o


def chunk_output(
    q: torch.Tensor,
    k: torch.Tensor,
    corrected: torch.Tensor,
    states: torch.Tensor,
    g_sum: torch.Tensor,
    cu_seqlens: torch.Tensor,
    chunk_indices: torch.Tensor | None = None,
    scale: float | None = None,
) -> torch.Tensor:
    """Return o_i = scale (exp(g_i) S q_i + sum over j <= i of exp(g_i - g_j) <q_i, k_j> v_j).

    Args:
        q: [1, T, Hk, K], bfloat16 or float16, contiguous; K one of 16, 32, 64, 128.
        k: as `q`.
        corrected: [1, T, Hv, V], dtype of `q`, from `chunk_states`; the v_j of the formula.
        states: [NT, Hv, V, K], dtype of `q`, from `chunk_states`; the S of each chunk.
        g_sum: float32 [1, T, Hv], from `chunk_cumsum`.
        cu_seqlens: int32 [N + 1], prefix sum of the lengths; the last is T.
        chunk_indices: int32 [NT, 2]; found by waiting for the device where None.
        scale: multiplies the queries; K ** -0.5 where None.

    Returns:
        [1, T, Hv, V] in the dtype of `q`. Source: arXiv 2412.06464, section 3.3.

    Raises:
        ValueError: if a shape, dtype, device or head ratio does not fit.
    """
    require_dims("q", q, 4, packed=True)
    require_dims("corrected", corrected, 4, packed=True)
    require_head_dim("q", q.shape[3])
    require_head_dim("corrected", corrected.shape[3])
    require_grouped_heads(q.shape[2], corrected.shape[2])
    require_dtype("q", q, LOW_PRECISION)
    require_shape("k", k, q.shape)
    chunk_indices = resolve_chunk_indices(cu_seqlens, chunk_indices)
    value_heads, value_size = corrected.shape[2:]
    require_shape("corrected", corrected, (1, q.shape[1], value_heads, value_size))
    require_shape("states", states, (len(chunk_indices), value_heads, value_size, q.shape[3]))
    require_shape("g_sum", g_sum, (1, q.shape[1], value_heads))
    require_dtype("g_sum", g_sum, (torch.float32,))
    for name, tensor in (("q", q), ("k", k), ("corrected", corrected), ("states", states)):
        require_dtype(name, tensor, (q.dtype,))
        require_dense_tokens(name, tensor, token_dim=0)
    require_dense_tokens("g_sum", g_sum, token_dim=0)
    require_same_device(
        q=q, k=k, corrected=corrected, states=states, g_sum=g_sum, cu_seqlens=cu_seqlens, chunk_indices=chunk_indices
    )
    scale = q.shape[3] ** -0.5 if scale is None else scale
    return _chunk_output_fwd(q, k, corrected, states, g_sum, cu_seqlens, chunk_indices, scale)
