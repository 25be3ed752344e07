"""Answers: what does the state hold before each chunk, and after the last one? The only sequential part."""

# Axis and block sizes keep the capitals of the mathematics.
# ruff: noqa: N803

from __future__ import annotations

import torch
import triton
import triton.language as tl

from syncwatch_kernels.gdn.constants import CHUNK_SIZE
from syncwatch_kernels.gdn.index import ChunkMetadata, resolve_chunk_metadata
from syncwatch_kernels.gdn.launch import kernel
from syncwatch_kernels.gdn.numerics import dot, loop_bound, narrow
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

_MAX_BLOCK_VALUES = 32
"""Columns of the state in one program. Few, so that a single long sequence still fills the device."""


@kernel(index_pointers=("cu_seqlens", "chunk_offsets"))
def chunk_states_fwd_kernel(
    k: tl.tensor,
    w: tl.tensor,
    u: tl.tensor,
    g_sum: tl.tensor,
    initial_state: tl.tensor,
    states: tl.tensor,
    corrected: tl.tensor,
    final_state: tl.tensor,
    cu_seqlens: tl.tensor,
    chunk_offsets: tl.tensor,
    Hk: tl.constexpr,
    Hv: tl.constexpr,
    K: tl.constexpr,
    V: tl.constexpr,
    BT: tl.constexpr,
    BV: tl.constexpr,
) -> None:
    """Carry `BV` columns of the state of one sequence and one value head through all its chunks."""
    i_v = tl.program_id(0)
    i_nh = tl.program_id(1)
    i_n = (i_nh // Hv).to(tl.int64)
    i_h = i_nh % Hv
    bos = tl.load(cu_seqlens + i_n).to(tl.int64)
    eos = tl.load(cu_seqlens + i_n + 1).to(tl.int64)
    boh = tl.load(chunk_offsets + i_n).to(tl.int64)
    chunks = (eos - bos + (BT - 1)).to(tl.int32) // BT

    o_c = tl.arange(0, BT)
    o_k = tl.arange(0, K)
    o_v = i_v * BV + tl.arange(0, BV)
    # Kept transposed, [K, BV], so that both products have at least 64 rows: what a warp group multiplies at once.
    p_state = o_v[None, :] * K + o_k[:, None]
    b_h = tl.full((K, BV), 0.0, dtype=tl.float32)
    if initial_state is not None:
        b_h += tl.load(initial_state + (i_n * Hv + i_h) * (V * K) + p_state)

    for i_c in range(0, loop_bound(chunks)):
        tl.store(states + ((boh + i_c) * Hv + i_h) * (V * K) + p_state, narrow(b_h, states.dtype.element_ty))

        o_t = bos + i_c * BT + o_c
        m_t = o_t < eos
        last = tl.minimum(bos + (i_c + 1) * BT, eos) - 1
        b_g = tl.load(g_sum + o_t * Hv + i_h, mask=m_t, other=0.0)  # [BT]
        b_g_last = tl.load(g_sum + last * Hv + i_h)
        b_w = tl.load(w + (o_t[:, None] * Hv + i_h) * K + o_k[None, :], mask=m_t[:, None], other=0.0)  # [BT, K]
        p_u = (o_t[:, None] * Hv + i_h) * V + o_v[None, :]
        b_u = tl.load(u + p_u, mask=m_t[:, None], other=0.0).to(tl.float32)  # [BT, BV]
        p_k = k + (i_h // (Hv // Hk)) * K + o_t[None, :] * (Hk * K) + o_k[:, None]
        b_k = tl.load(p_k, mask=m_t[None, :], other=0.0)  # [K, BT]

        b_v = b_u - dot(b_w, narrow(b_h, b_w.dtype))  # [BT, BV]
        tl.store(corrected + p_u, narrow(b_v, corrected.dtype.element_ty), mask=m_t[:, None])
        b_decay = tl.exp(tl.where(m_t, b_g_last - b_g, float("-inf")))  # [BT]
        b_h = b_h * tl.exp(b_g_last) + dot(b_k, narrow(b_v * b_decay[:, None], b_k.dtype))  # [K, BV]

    if final_state is not None:
        tl.store(final_state + (i_n * Hv + i_h) * (V * K) + p_state, b_h)


def _chunk_states_fwd(
    k: torch.Tensor, w: torch.Tensor, u: torch.Tensor, g_sum: torch.Tensor, cu_seqlens: torch.Tensor,
    initial_state: torch.Tensor | None, output_final_state: bool, metadata: ChunkMetadata,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:  # fmt: skip
    _, _, key_heads, key_size = k.shape
    _, _, value_heads, value_size = u.shape
    sequences, chunks = len(cu_seqlens) - 1, len(metadata.chunk_indices)
    one_state = (value_heads, value_size, key_size)
    states = torch.empty(chunks, *one_state, dtype=k.dtype, device=k.device)
    corrected = torch.empty(u.shape, dtype=u.dtype, device=u.device)
    final_state = None
    if output_final_state:
        final_state = torch.empty(sequences, *one_state, dtype=torch.float32, device=k.device)
    block = min(_MAX_BLOCK_VALUES, value_size)
    chunk_states_fwd_kernel[(triton.cdiv(value_size, block), sequences * value_heads)](
        k, w, u, g_sum, initial_state, states, corrected, final_state, cu_seqlens, metadata.chunk_offsets,
        Hk=key_heads, Hv=value_heads, K=key_size, V=value_size, BT=CHUNK_SIZE, BV=block, num_warps=4, num_stages=2,
    )  # fmt: skip
    return states, corrected, final_state


def chunk_states(
    k: torch.Tensor,
    w: torch.Tensor,
    u: torch.Tensor,
    g_sum: torch.Tensor,
    cu_seqlens: torch.Tensor,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    chunk_indices: torch.Tensor | None = None,
    chunk_offsets: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Carry the state from chunk to chunk; it stays in float32 between them.

    Args:
        k: [1, T, Hk, K], bfloat16 or float16, contiguous; K one of 16, 32, 64, 128.
        w: [1, T, Hv, K], dtype of `k`, from `wy_factors`.
        u: [1, T, Hv, V], dtype of `k`, from `wy_factors`.
        g_sum: float32 [1, T, Hv], from `chunk_cumsum`.
        cu_seqlens: int32 [N + 1], prefix sum of the lengths; the last is T.
        initial_state: float32 [N, Hv, V, K], contiguous; zero where None.
        output_final_state: whether the third result is wanted.
        chunk_indices: int32 [NT, 2]; only their number is used. Found by waiting for the device where None.
        chunk_offsets: int32 [N + 1]; found by waiting for the device where None.

    Returns:
        The state before each chunk [NT, Hv, V, K] and the values less what the state already held [1, T, Hv, V],
        both in the dtype of `k`; the final states, float32 [N, Hv, V, K], or None. A sequence of length zero ends
        in its initial state. Source: arXiv 2412.06464, section 3.3.

    Raises:
        ValueError: if a shape, dtype, device or head ratio does not fit.
    """
    require_dims("k", k, 4, packed=True)
    require_dims("u", u, 4, packed=True)
    require_head_dim("k", k.shape[3])
    require_head_dim("u", u.shape[3])
    require_grouped_heads(k.shape[2], u.shape[2])
    require_dtype("k", k, LOW_PRECISION)
    per_head = (1, k.shape[1], u.shape[2])
    for name, tensor, size in (("w", w, k.shape[3]), ("u", u, u.shape[3])):
        require_shape(name, tensor, (*per_head, size))
        require_dtype(name, tensor, (k.dtype,))
    require_shape("g_sum", g_sum, per_head)
    require_dtype("g_sum", g_sum, (torch.float32,))
    for name, tensor in (("k", k), ("w", w), ("u", u), ("g_sum", g_sum)):
        require_dense_tokens(name, tensor, token_dim=0)
    metadata = resolve_chunk_metadata(cu_seqlens, chunk_indices, chunk_offsets)
    if initial_state is not None:
        require_shape("initial_state", initial_state, (len(cu_seqlens) - 1, u.shape[2], u.shape[3], k.shape[3]))
        require_dtype("initial_state", initial_state, (torch.float32,))
        require_dense_tokens("initial_state", initial_state, token_dim=-1)
    require_same_device(
        k=k, w=w, u=u, g_sum=g_sum, cu_seqlens=cu_seqlens, initial_state=initial_state,
        chunk_indices=metadata.chunk_indices, chunk_offsets=metadata.chunk_offsets,
    )  # fmt: skip
    return _chunk_states_fwd(k, w, u, g_sum, cu_seqlens, initial_state, output_final_state, metadata)
