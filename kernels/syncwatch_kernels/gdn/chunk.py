"""The chunked gated delta rule of prefill: checks its arguments and runs its steps one after the other."""

from __future__ import annotations

import torch

from syncwatch_kernels.gdn.chunk_local import chunk_local
from syncwatch_kernels.gdn.chunk_scan import chunk_scan
from syncwatch_kernels.gdn.index import ChunkMetadata, resolve_chunk_metadata
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
