"""Carries the state from chunk to chunk, and reads it with the queries on the way.

The only sequential part. With X and P from `chunk_local`, and S the state before a chunk:

    v' = X (v - exp(G) S k)
    o  = scale exp(G) S q + P v'
    S <- exp(G_last) S + sum of exp(G_last - G) v' k^T

Neither S nor v' goes to memory. The tensor memory accelerator (TMA) fetches the tiles of the next two chunks meanwhile.
"""

# Axis and block sizes keep the capitals of the mathematics.
# ruff: noqa: N803

from __future__ import annotations

import torch
import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor

from syncwatch_kernels.gdn.chunk_local import ChunkLocal
from syncwatch_kernels.gdn.constants import CHUNK_SIZE
from syncwatch_kernels.gdn.launch import device_function, kernel
from syncwatch_kernels.gdn.numerics import dot, loop_bound, narrow

_BLOCK_ROWS = 64
"""Rows of the state in one program: the fewest that a warp group's matrix instruction (wgmma) takes."""


@device_function
def _read(
    b_h16: tl.tensor, b_q: tl.tensor, b_k: tl.tensor, b_v: tl.tensor, b_x: tl.tensor, b_p: tl.tensor,
    b_since: tl.tensor, b_since_q: tl.tensor,
) -> tuple[tl.tensor, tl.tensor]:  # fmt: skip
    """Return v', the values less what the state [BV, K] already holds of them, and the outputs o; [BV, BT] each."""
    b_new = dot(tl.trans(b_v), tl.trans(b_x))  # [BV, BT]
    b_old = dot(b_h16, tl.trans(b_k)) * -b_since[None, :]  # [BV, BT]
    b_new += dot(narrow(b_old, b_k.dtype), tl.trans(b_x))
    b_o = dot(b_h16, tl.trans(b_q)) * b_since_q[None, :]  # [BV, BT]
    b_o += dot(narrow(b_new, b_k.dtype), tl.trans(b_p))
    return b_new, b_o


@device_function
def _write(
    b_h: tl.tensor, b_new: tl.tensor, b_k: tl.tensor, b_until: tl.tensor, b_whole: tl.tensor
) -> tl.tensor:  # fmt: skip
    """Return the state after the chunk, [BV, K]."""
    return b_h * b_whole + dot(narrow(b_new * b_until[None, :], b_k.dtype), b_k)


@kernel(index_pointers=("cu_seqlens", "chunk_offsets"))
def chunk_scan_fwd_kernel(
    q_tiles: tl.tensor,
    k_tiles: tl.tensor,
    v_tiles: tl.tensor,
    inverse: tl.tensor,
    attention: tl.tensor,
    k: tl.tensor,
    v: tl.tensor,
    gates: tl.tensor,
    initial_state: tl.tensor,
    o: tl.tensor,
    final_state: tl.tensor,
    cu_seqlens: tl.tensor,
    chunk_offsets: tl.tensor,
    stride_k: tl.tensor,
    stride_v: tl.tensor,
    Hk: tl.constexpr,
    Hv: tl.constexpr,
    K: tl.constexpr,
    V: tl.constexpr,
    BT: tl.constexpr,
    BV: tl.constexpr,
) -> None:
    """Carry `BV` rows of the state of one sequence and one value head through all its chunks."""
    i_v = tl.program_id(0) * BV
    i_n = (tl.program_id(1) // Hv).to(tl.int64)
    i_h = tl.program_id(1) % Hv
    i_k = (i_h // (Hv // Hk)) * K
    bos = tl.load(cu_seqlens + i_n)
    length = tl.load(cu_seqlens + i_n + 1) - bos
    i_tile = (tl.load(chunk_offsets + i_n) * Hv + i_h) * BT
    o_c = tl.arange(0, BT)
    gates += i_tile.to(tl.int64) * 4
    o_k = tl.arange(0, K)
    o_v = i_v + tl.arange(0, BV)
    p_o = o + (bos.to(tl.int64) + o_c)[None, :] * (Hv * V) + i_h * V + o_v[:, None]  # [BV, BT]
    p_state = (i_n * Hv + i_h) * (V * K) + o_v[:, None] * K + o_k[None, :]
    b_h = tl.full((BV, K), 0.0, dtype=tl.float32)
    if initial_state is not None:
        b_h += tl.load(initial_state + p_state)

    full = length // BT * BT
    # These two gates go into no operand of a product, and the compiler prefetches nothing else, so each is loaded one
    # chunk ahead by hand.
    b_since_q = tl.load(gates + 2 * BT + o_c, mask=length > 0, other=0.0)  # [BT]
    b_whole = tl.load(gates + 4 * BT - 1, mask=length > 0, other=0.0)
    for first in range(0, loop_bound(full), BT):
        b_k = k_tiles.load([bos + first, i_k])  # [BT, K]
        b_v = v_tiles.load([bos + first, i_h * V + i_v])  # [BT, BV]
        b_x = inverse.load([i_tile, 0])  # [BT, BT]
        b_q = q_tiles.load([bos + first, i_k])  # [BT, K]
        b_p = attention.load([i_tile, 0])  # [BT, BT]
        b_since = tl.load(gates + o_c)  # [BT]
        b_until = tl.load(gates + BT + o_c)  # [BT]
        i_tile += Hv * BT
        gates += Hv * BT * 4
        has_next = first + BT < length
        b_since_q_next = tl.load(gates + 2 * BT + o_c, mask=has_next, other=0.0)  # [BT]
        b_whole_next = tl.load(gates + 4 * BT - 1, mask=has_next, other=0.0)
        b_new, b_o = _read(narrow(b_h, k.dtype.element_ty), b_q, b_k, b_v, b_x, b_p, b_since, b_since_q)
        tl.store(p_o, narrow(b_o, o.dtype.element_ty))
        b_h = _write(b_h, b_new, b_k, b_until, b_whole)
        p_o += BT * Hv * V
        b_since_q = b_since_q_next
        b_whole = b_whole_next

    if full < length:
        # Keys and values past the end belong to another sequence. They would be multiplied by zeros, but NaN times zero
        # is NaN, so they are masked.
        m_c = o_c < length - full
        o_t = (bos + full).to(tl.int64) + o_c
        b_k = tl.load(k + o_t[:, None] * stride_k + i_k + o_k[None, :], mask=m_c[:, None], other=0.0)
        b_v = tl.load(v + o_t[:, None] * stride_v + i_h * V + o_v[None, :], mask=m_c[:, None], other=0.0)
        b_x = inverse.load([i_tile, 0])
        b_q = q_tiles.load([bos + full, i_k])
        b_p = attention.load([i_tile, 0])
        b_since = tl.load(gates + o_c)
        b_until = tl.load(gates + BT + o_c)
        b_new, b_o = _read(narrow(b_h, k.dtype.element_ty), b_q, b_k, b_v, b_x, b_p, b_since, b_since_q)
        tl.store(p_o, narrow(b_o, o.dtype.element_ty), mask=m_c[None, :])
        b_h = _write(b_h, b_new, b_k, b_until, b_whole)
    if final_state is not None:
        tl.store(final_state + p_state, b_h)


def _tiles(rows: torch.Tensor, width: int) -> TensorDescriptor:
    """Describe a matrix to the TMA, which reads it in tiles of a chunk's rows and `width` columns."""
    return TensorDescriptor.from_tensor(rows, [CHUNK_SIZE, width])


def _tokens(x: torch.Tensor) -> torch.Tensor:
    """Return [1, T, H, size] with tokens where the TMA can read them: at addresses that are multiples of 16 bytes."""
    reach = 16 // x.element_size()
    return x if x.data_ptr() % 16 == 0 and x.stride(1) % reach == 0 else x.clone(memory_format=torch.contiguous_format)


def chunk_scan(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    local: ChunkLocal,
    cu_seqlens: torch.Tensor,
    chunk_offsets: torch.Tensor,
    initial_state: torch.Tensor | None,
    output_final_state: bool,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Carry the states through all chunks, in float32, and read them with the queries on the way.

    The arguments are those of `chunk_gated_delta_rule`, which has checked them, and what `chunk_local` made of them.
    The returns are those of `chunk_gated_delta_rule`. Source: arXiv 2412.06464, section 3.3.
    """
    _, tokens, value_heads, value_size = v.shape
    key_heads, key_size = k.shape[2:]
    o = torch.empty(v.shape, dtype=v.dtype, device=v.device)
    final_state = None
    if output_final_state:
        states = (len(cu_seqlens) - 1, value_heads, value_size, key_size)
        final_state = torch.empty(states, dtype=torch.float32, device=v.device)
    if tokens == 0:
        # The TMA takes no empty matrix, and no state changes.
        if final_state is not None:
            final_state.copy_(torch.zeros_like(final_state) if initial_state is None else initial_state)
        return o, final_state
    q, k, v = (_tokens(x) for x in (q, k, v))
    block = min(_BLOCK_ROWS, value_size)
    chunk_scan_fwd_kernel[(value_size // block, (len(cu_seqlens) - 1) * value_heads)](
        _tiles(q[0].flatten(1), key_size), _tiles(k[0].flatten(1), key_size), _tiles(v[0].flatten(1), block),
        *(_tiles(each.view(-1, CHUNK_SIZE), CHUNK_SIZE) for each in (local.inverse, local.attention)),
        k, v, local.gates, initial_state, o, final_state, cu_seqlens, chunk_offsets, k.stride(1), v.stride(1),
        Hk=key_heads, Hv=value_heads, K=key_size, V=value_size, BT=CHUNK_SIZE, BV=block, num_warps=4, num_stages=3,
    )  # fmt: skip
    return o, final_state
