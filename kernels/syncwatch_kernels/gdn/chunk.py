"""Answers: how do the steps of the chunked gated delta rule follow one another?"""

from __future__ import annotations

import torch

from syncwatch_kernels.gdn.chunk_output import chunk_output
from syncwatch_kernels.gdn.chunk_states import chunk_states
from syncwatch_kernels.gdn.cumsum import chunk_cumsum
from syncwatch_kernels.gdn.index import resolve_chunk_metadata
from syncwatch_kernels.gdn.l2norm import l2norm
from syncwatch_kernels.gdn.validate import LOW_PRECISION, require_dtype, require_shape
from syncwatch_kernels.gdn.wy_factors import wy_factors
from syncwatch_kernels.gdn.wy_inverse import wy_inverse


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
        q: [1, T, Hk, K], bfloat16 or float16; K one of 16, 32, 64, 128. Contiguous, unless `use_qk_l2norm`.
        k: as `q`.
        v: [1, T, Hv, V], dtype of `q`; Hv a multiple of Hk, V one of 16, 32, 64, 128. Value head h reads key head
            h // (Hv / Hk).
        g: float32 [1, T, Hv]; natural logarithm of each token's decay, not positive.
        beta: float32 [1, T, Hv]; write strength, 0 to 1.
        cu_seqlens: int32 [N + 1], prefix sum of the lengths, zero lengths allowed; the last is T.
        initial_state: float32 [N, Hv, V, K]; zero where None. It is not written to.
        output_final_state: whether the final states are wanted.
        chunk_indices: int32 [NT, 2], from `build_chunk_metadata`.
        chunk_offsets: int32 [N + 1], from `build_chunk_metadata`.
        use_qk_l2norm: whether queries and keys are brought to unit length first; if not, they must be already.
        scale: multiplies the queries; K ** -0.5 where None.

    Returns:
        The output [1, T, Hv, V] in the dtype of `q`, and the final states, float32 [N, Hv, V, K], or None.
        Source: Gated DeltaNet, arXiv 2412.06464; the WY form, arXiv 2406.06484.

    Raises:
        ValueError: if a shape, dtype, device or head ratio does not fit.
    """
    require_dtype("q", q, LOW_PRECISION)
    require_dtype("k", k, (q.dtype,))
    require_shape("k", k, q.shape)
    metadata = resolve_chunk_metadata(cu_seqlens, chunk_indices, chunk_offsets)
    if use_qk_l2norm:
        q, k = l2norm(q), l2norm(k)
    g_sum = chunk_cumsum(g, cu_seqlens, metadata.chunk_indices)
    inverse = wy_inverse(k, g_sum, beta, cu_seqlens, metadata.chunk_indices)
    w, u = wy_factors(k, v, g_sum, beta, inverse, cu_seqlens, metadata.chunk_indices)
    states, corrected, final_state = chunk_states(
        k, w, u, g_sum, cu_seqlens, initial_state, output_final_state, metadata.chunk_indices, metadata.chunk_offsets
    )
    o = chunk_output(q, k, corrected, states, g_sum, cu_seqlens, metadata.chunk_indices, scale)
    return o, final_state
