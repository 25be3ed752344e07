"""The chunked gated delta rule of prefill: carries the state from chunk to chunk, and runs its steps in turn.

The only sequential part. With X and P from `chunk_local`, and S the state before a chunk:

    v' = X (v - exp(G) S k)
    o  = scale exp(G) S q + P v'
    S <- exp(G_last) S + sum of exp(G_last - G) v' k^T

Neither S nor v' goes to memory. The copy engine fetches the tiles of the next two chunks meanwhile.
"""

from __future__ import annotations

import torch
import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor

from syncwatch_kernels.gdn.chunk_local import ChunkLocal, chunk_local
from syncwatch_kernels.gdn.index import ChunkMetadata, resolve_chunk_metadata
from syncwatch_kernels.gdn.numerics import CHUNK_SIZE, device_function, dot, kernel, loop_bound, narrow
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

# Axis and block sizes keep the capitals of the mathematics.
# ruff: noqa: N803


_BLOCK_ROWS = 64
"""Rows of the state in one program: the fewest that a warp group's matrix instruction (wgmma) takes."""


@device_function
def _read(
    b_h16: tl.tensor, b_q: tl.tensor, b_k: tl.tensor, b_v: tl.tensor, b_x: tl.tensor, b_p: tl.tensor,
    b_since: tl.tensor, b_since_q: tl.tensor,
) -> tuple[tl.tensor, tl.tensor]:  # fmt: skip
    """Return the values less what the state [BV, K] already holds of them, and what the queries read; [BV, BT]."""
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
    # Two of the gates meet no product's factor, so that the compiler would not fetch them ahead.
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
        # Keys and values past the end are another sequence's: multiplied by zeros, but its NaN must not come over.
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
    """Describe a matrix to the GPU's copy engine (TMA), to be read in tiles of a chunk's rows and `width` columns."""
    return TensorDescriptor.from_tensor(rows, [CHUNK_SIZE, width])


def _tokens(x: torch.Tensor) -> torch.Tensor:
    """Return [1, T, H, size] with tokens where the copy engine can reach them: a multiple of 16 bytes apart."""
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
    So are the returns. Source: arXiv 2412.06464, section 3.3.
    """
    _, tokens, value_heads, value_size = v.shape
    key_heads, key_size = k.shape[2:]
    o = torch.empty(v.shape, dtype=v.dtype, device=v.device)
    final_state = None
    if output_final_state:
        states = (len(cu_seqlens) - 1, value_heads, value_size, key_size)
        final_state = torch.empty(states, dtype=torch.float32, device=v.device)
    if tokens == 0:
        # The copy engine takes no empty matrix, and there is nothing to carry.
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


def chunk_gated_delta_rule(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor,
    beta: torch.Tensor,
    cu_seqlens: torch.Tensor,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    chunk_indices: torch.Tensor | None = None,
    chunk_offsets: torch.Tensor | None = None,
    use_qk_l2norm: bool = False,
    scale: float | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Apply the gated delta rule to packed sequences, 64 tokens at a time.

    With `chunk_indices` and `chunk_offsets` given the host never waits for the device. Without them it does, once for
    each `cu_seqlens` object.

    Args:
        q: [1, T, Hk, K], bfloat16 or float16; K one of 16, 32, 64, 128. Tokens may be any stride apart;
            where that is no multiple of 16 bytes, a copy is made.
        k: as `q`.
        v: [1, T, Hv, V], dtype and strides as `q`; Hv a multiple of Hk, V one of 16, 32, 64, 128. Value head h reads
            key head h // (Hv / Hk).
        g: float32 [1, T, Hv]; natural logarithm of each token's decay, not positive.
        beta: float32 [1, T, Hv]; write strength, 0 to 1.
        cu_seqlens: int32 [N + 1], prefix sum of the lengths, zero lengths allowed; the last is T.
        initial_state: float32 [N, Hv, V, K]; zero where None. It is not written to.
        output_final_state: whether the final states are wanted.
        chunk_indices: int32 [NT, 2], from `build_chunk_metadata`.
        chunk_offsets: int32 [N + 1], from `build_chunk_metadata`.
        use_qk_l2norm: whether queries and keys are brought to unit length first; if not, they must be already. The
            factor of a key is put on the value it is written with, so float16 keys should be of length 0.01 to 100.
        scale: multiplies the queries; K ** -0.5 where None.

    Returns:
        The output [1, T, Hv, V] in the dtype of `q`, and the final states, float32 [N, Hv, V, K], or None.
        Source: Gated DeltaNet, arXiv 2412.06464; the WY form, arXiv 2406.06484.

    Raises:
        ValueError: if a shape, dtype, device or head ratio does not fit.
    """
    metadata = resolve_chunk_metadata(cu_seqlens, chunk_indices, chunk_offsets)
    _require_arguments(q, k, v, g, beta, cu_seqlens, initial_state, metadata)
    scale = k.shape[3] ** -0.5 if scale is None else scale
    local = chunk_local(q, k, g, beta, cu_seqlens, metadata.chunk_indices, use_qk_l2norm, scale)
    return chunk_scan(q, k, v, local, cu_seqlens, metadata.chunk_offsets, initial_state, output_final_state)


def _require_arguments(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, g: torch.Tensor, beta: torch.Tensor, cu_seqlens: torch.Tensor,
    initial_state: torch.Tensor | None, metadata: ChunkMetadata,
) -> None:  # fmt: skip
    require_dtype("q", q, LOW_PRECISION)
    require_dtype("k", k, (q.dtype,))
    require_shape("k", k, q.shape)
    require_dtype("v", v, (q.dtype,))
    for name, tensor in (("k", k), ("v", v)):
        require_dims(name, tensor, 4, packed=True)
        require_head_dim(name, tensor.shape[3])
    for name, tensor in (("q", q), ("k", k), ("v", v)):
        require_dense_tokens(name, tensor, token_dim=1)
    require_grouped_heads(k.shape[2], v.shape[2])
    require_shape("v", v, (1, k.shape[1], *v.shape[2:]))
    for name, tensor in (("g", g), ("beta", beta)):
        require_shape(name, tensor, v.shape[:3])
        require_dtype(name, tensor, (torch.float32,))
        require_dense_tokens(name, tensor, token_dim=0)
    if initial_state is not None:
        require_shape("initial_state", initial_state, (len(cu_seqlens) - 1, *v.shape[2:], k.shape[3]))
        require_dtype("initial_state", initial_state, (torch.float32,))
        require_dense_tokens("initial_state", initial_state, token_dim=-1)
    require_same_device(
        k=k, q=q, v=v, g=g, beta=beta, cu_seqlens=cu_seqlens, initial_state=initial_state,
        chunk_indices=metadata.chunk_indices, chunk_offsets=metadata.chunk_offsets,
    )  # fmt: skip
