"""The public operations of a gated delta rule layer, forward only."""

from __future__ import annotations

from syncwatch_kernels.gdn.causal_conv1d import causal_conv1d
from syncwatch_kernels.gdn.causal_conv1d_update import causal_conv1d_update
from syncwatch_kernels.gdn.chunk import chunk_gated_delta_rule
from syncwatch_kernels.gdn.gating import gating
from syncwatch_kernels.gdn.index import (
    ChunkMetadata,
    build_chunk_metadata,
    prepare_chunk_indices,
    prepare_chunk_metadata,
    prepare_chunk_offsets,
    upload,
)
from syncwatch_kernels.gdn.norm import gated_rms_norm, l2norm
from syncwatch_kernels.gdn.numerics import CHUNK_SIZE
from syncwatch_kernels.gdn.recurrent import recurrent_gated_delta_rule_decode

__all__ = [
    "CHUNK_SIZE",
    "ChunkMetadata",
    "build_chunk_metadata",
    "causal_conv1d",
    "causal_conv1d_update",
    "chunk_gated_delta_rule",
    "gated_rms_norm",
    "gating",
    "l2norm",
    "prepare_chunk_indices",
    "prepare_chunk_metadata",
    "prepare_chunk_offsets",
    "recurrent_gated_delta_rule_decode",
    "upload",
]
