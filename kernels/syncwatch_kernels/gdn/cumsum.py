"""Answers: how much has the state decayed since the start of each token's chunk?"""

# Axis and block sizes keep the capitals of the mathematics.
# ruff: noqa: N803

from __future__ import annotations

import torch
import triton
import triton.language as tl

from syncwatch_kernels.gdn.constants import CHUNK_SIZE
from syncwatch_kernels.gdn.index import resolve_chunk_indices
from syncwatch_kernels.gdn.launch import kernel
from syncwatch_kernels.gdn.validate import require_dense_tokens, require_dims, require_dtype, require_same_device


@kernel(index_pointers=("cu_seqlens", "chunk_indices"))
def chunk_cumsum_fwd_kernel(
    g: tl.tensor,
    g_sum: tl.tensor,
    cu_seqlens: tl.tensor,
    chunk_indices: tl.tensor,
    H: tl.constexpr,
    BT: tl.constexpr,
    BH: tl.constexpr,
) -> None:
    """Sum over one chunk, all heads."""
    i_t = tl.program_id(0).to(tl.int64)
    i_n = tl.load(chunk_indices + i_t * 2).to(tl.int64)
    i_c = tl.load(chunk_indices + i_t * 2 + 1).to(tl.int64)
    bos = tl.load(cu_seqlens + i_n).to(tl.int64)
    eos = tl.load(cu_seqlens + i_n + 1).to(tl.int64)

    o_t = bos + i_c * BT + tl.arange(0, BT)
    o_h = tl.arange(0, BH)
    p_th = o_t[:, None] * H + o_h[None, :]
    m_th = (o_t < eos)[:, None] & (o_h < H)[None, :]
    b_g = tl.load(g + p_th, mask=m_th, other=0.0)  # [BT, BH]
    tl.store(g_sum + p_th, tl.cumsum(b_g, axis=0), mask=m_th)


def _chunk_cumsum_fwd(g: torch.Tensor, cu_seqlens: torch.Tensor, chunk_indices: torch.Tensor) -> torch.Tensor:
    heads = g.shape[2]
    g_sum = torch.empty(g.shape, dtype=torch.float32, device=g.device)
    if len(chunk_indices):
        chunk_cumsum_fwd_kernel[(len(chunk_indices),)](
            g, g_sum, cu_seqlens, chunk_indices,
            H=heads, BT=CHUNK_SIZE, BH=triton.next_power_of_2(heads), num_warps=4,
        )  # fmt: skip
    return g_sum


def chunk_cumsum(g: torch.Tensor, cu_seqlens: torch.Tensor, chunk_indices: torch.Tensor | None = None) -> torch.Tensor:
    """Return the running sum of `g`, begun anew at each chunk of 64 tokens.

    Args:
        g: float32 [1, T, Hv], contiguous; natural logarithm of each token's decay.
        cu_seqlens: int32 [N + 1], prefix sum of the lengths; the last is T.
        chunk_indices: int32 [NT, 2]; found by waiting for the device where None.

    Returns:
        float32 [1, T, Hv], the gamma of Gated DeltaNet (arXiv 2412.06464, section 3.3) in logarithm.

    Raises:
        ValueError: if a shape, dtype or device does not fit.
    """
    require_dims("g", g, 3, packed=True)
    require_dtype("g", g, (torch.float32,))
    require_dense_tokens("g", g, token_dim=0)
    chunk_indices = resolve_chunk_indices(cu_seqlens, chunk_indices)
    require_same_device(g=g, cu_seqlens=cu_seqlens, chunk_indices=chunk_indices)
    return _chunk_cumsum_fwd(g, cu_seqlens, chunk_indices)
