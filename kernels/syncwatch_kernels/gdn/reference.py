"""References that the kernels are tested against: every op of the layer in plain torch, written for clarity, not speed.

Sequences are packed along the token dimension; `cu_seqlens` is a list of host integers here, so that a reference never
waits by accident. The arithmetic is done in the dtype of the arguments: pass float64 for the truth.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch.nn import functional

from syncwatch_kernels.gdn.numerics import CHUNK_SIZE, CONV_WIDTH, L2_NORM_EPS, RMS_NORM_EPS


def reference_gating(
    a: torch.Tensor, b: torch.Tensor, a_log: torch.Tensor, dt_bias: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the log decay and the write strength: g = -exp(a_log) softplus(a + dt_bias), beta = sigmoid(b).

    Args:
        a: [T, Hv]
        b: [T, Hv]
        a_log: [Hv]
        dt_bias: [Hv]

    Returns:
        g and beta, [T, Hv] each. Source: Gated DeltaNet, arXiv 2412.06464; the parametrisation is Mamba2's.
    """
    return -a_log.exp() * functional.softplus(a + dt_bias), b.sigmoid()


def reference_l2norm(x: torch.Tensor, eps: float = L2_NORM_EPS) -> torch.Tensor:
    """Return x / sqrt(sum(x^2) + eps) over the last dimension; any shape."""
    return x * (x.square().sum(-1, keepdim=True) + eps).rsqrt()


def reference_gated_rms_norm(
    x: torch.Tensor, z: torch.Tensor, weight: torch.Tensor, eps: float = RMS_NORM_EPS
) -> torch.Tensor:
    """Return x / rms(x) * weight * silu(z), the norm taken over the last dimension.

    Args:
        x: [T, Hv, V]
        z: [T, Hv, V]
        weight: [V]
        eps: added to the mean square.
    """
    return x * (x.square().mean(-1, keepdim=True) + eps).rsqrt() * weight * functional.silu(z)


def reference_causal_conv1d(
    x: torch.Tensor, weight: torch.Tensor, cu_seqlens: Sequence[int], initial_state: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Convolve each channel with its own causal filter, then SiLU.

    Args:
        x: [T, C]
        weight: [C, 4], the last tap on the current token.
        cu_seqlens: N + 1 prefix sums of the lengths.
        initial_state: [N, 3, C], the inputs before each sequence, oldest first; zero where None.

    Returns:
        The output [T, C] and the last three inputs of each sequence [N, 3, C].
    """
    past = CONV_WIDTH - 1
    outputs, states = [], []
    for sequence, (start, end) in enumerate(pairwise(cu_seqlens)):
        before = x.new_zeros(past, x.shape[1]) if initial_state is None else initial_state[sequence]
        line = torch.cat((before.to(x), x[start:end]))  # [3 + length, C]
        states.append(line[len(line) - past :])
        if end > start:
            outputs.append((line.unfold(0, CONV_WIDTH, 1) * weight).sum(-1))
    mixed = torch.cat(outputs) if outputs else x
    return functional.silu(mixed), torch.stack(states)


def reference_recurrent(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor,
    beta: torch.Tensor,
    cu_seqlens: Sequence[int],
    initial_state: torch.Tensor | None = None,
    scale: float | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Apply the gated delta rule token by token: the definition.

    S <- exp(g) S;  S <- S + beta (v - S k) k^T;  o = scale S q. Source: Gated DeltaNet, arXiv 2412.06464, equation 10.

    Args:
        q: [1, T, Hk, K]
        k: [1, T, Hk, K]
        v: [1, T, Hv, V]; value head h reads key head h // (Hv / Hk).
        g: [1, T, Hv], natural logarithm of the decay.
        beta: [1, T, Hv]
        cu_seqlens: N + 1 prefix sums of the lengths.
        initial_state: [N, Hv, V, K]; zero where None.
        scale: multiplies the queries; K ** -0.5 where None.

    Returns:
        The output [1, T, Hv, V] and the final states [N, Hv, V, K].
    """
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    q, k = (_spread_heads(x, v.shape[2])[0] for x in (q, k))
    states = _initial_states(v, k, len(cu_seqlens) - 1, initial_state)
    o = torch.empty_like(v)
    for sequence, (start, end) in enumerate(pairwise(cu_seqlens)):
        state = states[sequence]  # [Hv, V, K]
        for t in range(start, end):
            state = state * g[0, t].exp()[:, None, None]
            correction = beta[0, t][:, None] * (v[0, t] - torch.einsum("hvk,hk->hv", state, k[t]))
            state = state + correction[:, :, None] * k[t][:, None, :]
            o[0, t] = scale * torch.einsum("hvk,hk->hv", state, q[t])
        states[sequence] = state
    return o, states


def reference_chunk_cumsum(g: torch.Tensor, cu_seqlens: Sequence[int]) -> torch.Tensor:
    """Return the running sum of g, [1, T, Hv], begun anew at each chunk."""
    g_sum = torch.empty_like(g)
    for _, rows in _chunks(cu_seqlens):
        g_sum[0, rows] = g[0, rows].cumsum(0)
    return g_sum


def reference_wy_inverse(
    k: torch.Tensor, g_sum: torch.Tensor, beta: torch.Tensor, cu_seqlens: Sequence[int]
) -> torch.Tensor:
    """Return (I + A)^-1 of each chunk, A[i, j] = beta_i <k_i, k_j> exp(g_i - g_j) below the diagonal.

    Source: the WY form of DeltaNet, arXiv 2406.06484, with the decay of arXiv 2412.06464.

    Args:
        k: [1, T, Hk, K]
        g_sum: [1, T, Hv], from `reference_chunk_cumsum`.
        beta: [1, T, Hv]
        cu_seqlens: N + 1 prefix sums of the lengths.

    Returns:
        [1, T, Hv, 64]: row i of its chunk's inverse for each token; columns past the chunk's end are zero.
    """
    heads = g_sum.shape[2]
    keys = _spread_heads(k, heads)[0]
    inverse = g_sum.new_zeros(1, g_sum.shape[1], heads, CHUNK_SIZE)
    for _, rows in _chunks(cu_seqlens):
        chunk_k, chunk_g = keys[rows].transpose(0, 1), g_sum[0, rows].T  # [Hv, BT, K], [Hv, BT]
        decay = (chunk_g[:, :, None] - chunk_g[:, None, :]).tril(-1).exp().tril(-1)
        a = beta[0, rows].T[:, :, None] * (chunk_k @ chunk_k.mT) * decay
        identity = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)
        solved = torch.linalg.solve_triangular(identity + a, identity.expand_as(a), upper=False, unitriangular=True)
        inverse[0, rows, :, : a.shape[-1]] = solved.transpose(0, 1)
    return inverse


def reference_wy_factors(
    k: torch.Tensor,
    v: torch.Tensor,
    g_sum: torch.Tensor,
    beta: torch.Tensor,
    inverse: torch.Tensor,
    cu_seqlens: Sequence[int],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return w = (I + A)^-1 (beta exp(g) k), [1, T, Hv, K], and u = (I + A)^-1 (beta v), [1, T, Hv, V]."""
    keys = _spread_heads(k, v.shape[2])
    w, u = torch.empty_like(keys), torch.empty_like(v)
    weighted_k = keys * (beta * g_sum.exp())[..., None]
    weighted_v = v * beta[..., None]
    for _, rows in _chunks(cu_seqlens):
        block = inverse[0, rows, :, : rows.stop - rows.start]
        w[0, rows] = torch.einsum("ihj,jhk->ihk", block, weighted_k[0, rows])
        u[0, rows] = torch.einsum("ihj,jhv->ihv", block, weighted_v[0, rows])
    return w, u


def reference_chunk_states(
    k: torch.Tensor,
    w: torch.Tensor,
    u: torch.Tensor,
    g_sum: torch.Tensor,
    cu_seqlens: Sequence[int],
    initial_state: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Carry the state from chunk to chunk.

    Returns:
        The state before each chunk [NT, Hv, V, K], the corrected values [1, T, Hv, V], the final states [N, Hv, V, K].
    """
    keys = _spread_heads(k, u.shape[2])
    states = _initial_states(u, keys[0], len(cu_seqlens) - 1, initial_state)
    before, corrected = [], torch.empty_like(u)
    for sequence, rows in _chunks(cu_seqlens):
        state = states[sequence].clone()
        before.append(state)
        values = u[0, rows] - torch.einsum("ihk,hvk->ihv", w[0, rows], state)
        corrected[0, rows] = values
        last = g_sum[0, rows.stop - 1]
        decayed = values * (last - g_sum[0, rows]).exp()[..., None]
        states[sequence] = state * last.exp()[:, None, None] + torch.einsum("ihv,ihk->hvk", decayed, keys[0, rows])
    return torch.stack(before) if before else states[:0], corrected, states


def reference_chunk_output(
    q: torch.Tensor,
    k: torch.Tensor,
    corrected: torch.Tensor,
    states: torch.Tensor,
    g_sum: torch.Tensor,
    cu_seqlens: Sequence[int],
    scale: float,
) -> torch.Tensor:
    """Return what the queries read, [1, T, Hv, V]: from the state before the chunk, and from within the chunk."""
    queries, keys = (_spread_heads(x, corrected.shape[2])[0] for x in (q, k))
    o = torch.empty_like(corrected)
    for chunk, (_, rows) in enumerate(_chunks(cu_seqlens)):
        chunk_q, chunk_k = queries[rows].transpose(0, 1), keys[rows].transpose(0, 1)  # [Hv, BT, K]
        chunk_g = g_sum[0, rows].T  # [Hv, BT]
        decay = (chunk_g[:, :, None] - chunk_g[:, None, :]).tril().exp().tril()
        from_state = (chunk_q @ states[chunk].mT) * chunk_g.exp()[..., None]
        from_chunk = ((chunk_q @ chunk_k.mT) * decay) @ corrected[0, rows].transpose(0, 1)
        o[0, rows] = scale * (from_state + from_chunk).transpose(0, 1)
    return o


def reference_chunked(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor,
    beta: torch.Tensor,
    cu_seqlens: Sequence[int],
    initial_state: torch.Tensor | None = None,
    scale: float | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Apply the gated delta rule chunk by chunk: the same result as `reference_recurrent`, the kernels' steps.

    Arguments and returns are those of `reference_recurrent`.
    """
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    g_sum = reference_chunk_cumsum(g, cu_seqlens)
    inverse = reference_wy_inverse(k, g_sum, beta, cu_seqlens)
    w, u = reference_wy_factors(k, v, g_sum, beta, inverse, cu_seqlens)
    states, corrected, final_state = reference_chunk_states(k, w, u, g_sum, cu_seqlens, initial_state)
    return reference_chunk_output(q, k, corrected, states, g_sum, cu_seqlens, scale), final_state


def _chunks(cu_seqlens: Sequence[int]) -> Iterator[tuple[int, slice]]:
    for sequence, (start, end) in enumerate(pairwise(cu_seqlens)):
        for first in range(start, end, CHUNK_SIZE):
            yield sequence, slice(first, min(first + CHUNK_SIZE, end))


def _spread_heads(x: torch.Tensor, value_heads: int) -> torch.Tensor:
    return x.repeat_interleave(value_heads // x.shape[2], dim=2)


def _initial_states(
    v: torch.Tensor, keys: torch.Tensor, sequences: int, initial_state: torch.Tensor | None
) -> torch.Tensor:
    if initial_state is not None:
        return initial_state.to(v.dtype).clone()
    return v.new_zeros(sequences, v.shape[2], v.shape[3], keys.shape[2])
