"""The kernels to warm up: the chunked gated delta rule in six steps, every block size left to be chosen.

This is the chain that serving engines autotune, one packed sequence a call; `syncwatch_kernels` has a faster one, whose
block sizes are fixed. Source of the mathematics: Gated DeltaNet, arXiv 2412.06464, section 3.3, in the WY form of
arXiv 2406.06484. Queries and keys have unit length already.
"""

# Axis and block sizes keep the capitals of the mathematics.
# ruff: noqa: N803

from __future__ import annotations

import triton.language as tl
from syncwatch_kernels.gdn.numerics import device_function, dot, kernel, loop_bound, narrow


@kernel(lengths=("T",))
def cumsum_kernel(g: tl.tensor, g_sum: tl.tensor, T: tl.tensor, Hv: tl.constexpr, BT: tl.constexpr) -> None:
    """Write G of one chunk and one value head: the sum of g from the start of the chunk."""
    o_t = tl.program_id(0).to(tl.int64) * BT + tl.arange(0, BT)
    p_t = o_t * Hv + tl.program_id(1)
    b_g = tl.load(g + p_t, mask=o_t < T, other=0.0)  # [BT]
    tl.store(g_sum + p_t, tl.cumsum(b_g, axis=0), mask=o_t < T)


@kernel(lengths=("T",))
def products_kernel(
    k: tl.tensor,
    g_sum: tl.tensor,
    beta: tl.tensor,
    a: tl.tensor,
    T: tl.tensor,
    Hk: tl.constexpr,
    Hv: tl.constexpr,
    K: tl.constexpr,
    BT: tl.constexpr,
    BK: tl.constexpr,
) -> None:
    """Write A[i, j] = beta_i <k_i, k_j> exp(G_i - G_j), i > j, of one chunk and one value head."""
    i_h = tl.program_id(1)
    o_c = tl.arange(0, BT)
    o_t = tl.program_id(0).to(tl.int64) * BT + o_c
    m_t = o_t < T
    b_a = tl.full((BT, BT), 0.0, dtype=tl.float32)
    for i_k in range(0, K, BK):
        p_k = o_t[:, None] * (Hk * K) + (i_h // (Hv // Hk)) * K + i_k + tl.arange(0, BK)[None, :]
        b_k = tl.load(k + p_k, mask=m_t[:, None], other=0.0)  # [BT, BK]
        b_a += dot(b_k, tl.trans(b_k))
    b_g = tl.load(g_sum + o_t * Hv + i_h, mask=m_t, other=0.0)  # [BT]
    b_beta = tl.load(beta + o_t * Hv + i_h, mask=m_t, other=0.0)  # [BT]
    # The mask goes inside the exponential: above the diagonal the difference is positive and may overflow.
    b_decay = tl.exp(tl.where(o_c[:, None] > o_c[None, :], b_g[:, None] - b_g[None, :], float("-inf")))  # [BT, BT]
    p_a = (o_t[:, None] * Hv + i_h) * BT + o_c[None, :]
    tl.store(a + p_a, b_a * b_beta[:, None] * b_decay, mask=m_t[:, None])


@device_function
def _join_halves(b_a: tl.tensor, b_x: tl.tensor, o_row: tl.tensor, o_col: tl.tensor, half: tl.constexpr) -> tl.tensor:
    """Given the inverses of diagonal blocks of `half` rows, return those of twice as many.

    Every factor stays between -1 and 1 for keys of unit length, where float16 keeps 11 bits.
    """
    m_new = (o_row // (2 * half) == o_col // (2 * half)) & (o_row // half != o_col // half)
    b_x16 = b_x.to(tl.float16)
    return b_x - dot(b_x16, dot(tl.where(m_new, b_a, 0.0).to(tl.float16), b_x16).to(tl.float16))


@kernel(lengths=("T",))
def inverse_kernel(a: tl.tensor, inverse: tl.tensor, T: tl.tensor, Hv: tl.constexpr, BT: tl.constexpr) -> None:
    """Invert I + A of one chunk and one value head; BT is 64."""
    o_c = tl.arange(0, BT)
    o_t = tl.program_id(0).to(tl.int64) * BT + o_c
    o_row, o_col = o_c[:, None], o_c[None, :]
    p_a = (o_t[:, None] * Hv + tl.program_id(1)) * BT + o_col
    m_t = (o_t < T)[:, None]
    b_a = tl.load(a + p_a, mask=m_t, other=0.0)  # [BT, BT]
    b_x = tl.where(o_row == o_col, 1.0, 0.0) - tl.where(o_row // 2 == o_col // 2, b_a, 0.0)  # [BT, BT]
    b_x = _join_halves(b_a, b_x, o_row, o_col, 2)
    b_x = _join_halves(b_a, b_x, o_row, o_col, 4)
    b_x = _join_halves(b_a, b_x, o_row, o_col, 8)
    b_x = _join_halves(b_a, b_x, o_row, o_col, 16)
    b_x = _join_halves(b_a, b_x, o_row, o_col, 32)
    tl.store(inverse + p_a, narrow(b_x, inverse.dtype.element_ty), mask=m_t)


@kernel(lengths=("T",))
def factors_kernel(
    k: tl.tensor,
    v: tl.tensor,
    g_sum: tl.tensor,
    beta: tl.tensor,
    inverse: tl.tensor,
    w: tl.tensor,
    u: tl.tensor,
    T: tl.tensor,
    Hk: tl.constexpr,
    Hv: tl.constexpr,
    K: tl.constexpr,
    V: tl.constexpr,
    BT: tl.constexpr,
    BK: tl.constexpr,
    BV: tl.constexpr,
) -> None:
    """Write w = X (beta exp(G) k) and u = X (beta v) of one chunk and one value head."""
    i_h = tl.program_id(1)
    o_c = tl.arange(0, BT)
    o_t = tl.program_id(0).to(tl.int64) * BT + o_c
    m_t = o_t < T
    b_g = tl.load(g_sum + o_t * Hv + i_h, mask=m_t, other=0.0)  # [BT]
    b_beta = tl.load(beta + o_t * Hv + i_h, mask=m_t, other=0.0)  # [BT]
    b_x = tl.load(inverse + (o_t[:, None] * Hv + i_h) * BT + o_c[None, :], mask=m_t[:, None], other=0.0)  # [BT, BT]
    for i_v in range(0, V, BV):
        p_v = (o_t[:, None] * Hv + i_h) * V + i_v + tl.arange(0, BV)[None, :]
        b_v = tl.load(v + p_v, mask=m_t[:, None], other=0.0).to(tl.float32) * b_beta[:, None]  # [BT, BV]
        b_u = dot(b_x, narrow(b_v, u.dtype.element_ty))
        tl.store(u + p_v, narrow(b_u, u.dtype.element_ty), mask=m_t[:, None])
    b_weight = (b_beta * tl.exp(b_g))[:, None]
    for i_k in range(0, K, BK):
        o_k = i_k + tl.arange(0, BK)
        p_k = o_t[:, None] * (Hk * K) + (i_h // (Hv // Hk)) * K + o_k[None, :]
        b_k = tl.load(k + p_k, mask=m_t[:, None], other=0.0).to(tl.float32) * b_weight  # [BT, BK]
        b_w = dot(b_x, narrow(b_k, w.dtype.element_ty))
        tl.store(w + (o_t[:, None] * Hv + i_h) * K + o_k[None, :], narrow(b_w, w.dtype.element_ty), mask=m_t[:, None])


@kernel(lengths=("T",))
def states_kernel(
    k: tl.tensor,
    w: tl.tensor,
    u: tl.tensor,
    g_sum: tl.tensor,
    initial_state: tl.tensor,
    states: tl.tensor,
    corrected: tl.tensor,
    final_state: tl.tensor,
    T: tl.tensor,
    Hk: tl.constexpr,
    Hv: tl.constexpr,
    K: tl.constexpr,
    V: tl.constexpr,
    BT: tl.constexpr,
    BV: tl.constexpr,
) -> None:
    """Carry `BV` columns of the state of one value head through all chunks."""
    i_h = tl.program_id(1).to(tl.int64)
    o_c = tl.arange(0, BT).to(tl.int64)
    o_k = tl.arange(0, K)
    o_v = tl.program_id(0) * BV + tl.arange(0, BV)
    # Kept transposed, [K, BV], so that both products have at least 64 rows: what a warp group multiplies at once.
    p_state = o_v[None, :] * K + o_k[:, None]
    b_h = tl.load(initial_state + i_h * (V * K) + p_state)
    for i_c in range(0, loop_bound((T + (BT - 1)) // BT)):
        tl.store(states + (i_c * Hv + i_h) * (V * K) + p_state, narrow(b_h, states.dtype.element_ty))
        o_t = i_c * BT + o_c
        m_t = o_t < T
        last = tl.minimum((i_c + 1) * BT, T) - 1
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
    tl.store(final_state + i_h * (V * K) + p_state, b_h)


@kernel(lengths=("T",))
def output_kernel(
    q: tl.tensor,
    k: tl.tensor,
    corrected: tl.tensor,
    states: tl.tensor,
    g_sum: tl.tensor,
    o: tl.tensor,
    scale: tl.tensor,
    T: tl.tensor,
    Hk: tl.constexpr,
    Hv: tl.constexpr,
    K: tl.constexpr,
    V: tl.constexpr,
    BT: tl.constexpr,
    BK: tl.constexpr,
    BV: tl.constexpr,
) -> None:
    """Write `BV` values of what the queries of one chunk read; with BT below 64 there must be one chunk only."""
    i_t = tl.program_id(1).to(tl.int64)
    i_h = tl.program_id(2)
    o_c = tl.arange(0, BT)
    o_t = i_t * BT + o_c
    o_v = tl.program_id(0) * BV + tl.arange(0, BV)
    m_t = o_t < T
    b_o = tl.full((BT, BV), 0.0, dtype=tl.float32)
    b_p = tl.full((BT, BT), 0.0, dtype=tl.float32)
    for i_k in range(0, K, BK):
        o_k = i_k + tl.arange(0, BK)
        p_qk = o_t[:, None] * (Hk * K) + (i_h // (Hv // Hk)) * K + o_k[None, :]
        b_q = tl.load(q + p_qk, mask=m_t[:, None], other=0.0)  # [BT, BK]
        b_k = tl.load(k + p_qk, mask=m_t[:, None], other=0.0)  # [BT, BK]
        b_h = tl.load(states + (i_t * Hv + i_h) * (V * K) + o_v[None, :] * K + o_k[:, None])  # [BK, BV]
        b_o += dot(b_q, b_h)
        b_p += dot(b_q, tl.trans(b_k))
    b_g = tl.load(g_sum + o_t * Hv + i_h, mask=m_t, other=0.0)  # [BT]
    p_o = (o_t[:, None] * Hv + i_h) * V + o_v[None, :]
    b_v = tl.load(corrected + p_o, mask=m_t[:, None], other=0.0)  # [BT, BV]
    m_seen = (o_c[:, None] >= o_c[None, :]) & m_t[:, None]
    b_p = b_p * tl.exp(tl.where(m_seen, b_g[:, None] - b_g[None, :], float("-inf")))  # [BT, BT]
    b_o = b_o * tl.exp(b_g)[:, None] + dot(narrow(b_p, b_v.dtype), b_v)
    tl.store(o + p_o, narrow(b_o * scale, o.dtype.element_ty), mask=m_t[:, None])
