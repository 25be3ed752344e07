"""Builds what the GDN layers of one KV-cache group need to know about a step, with or without waiting.

The builder follows vLLM's `GDNAttentionMetadataBuilder.build`. Rows with drafts take the decode kernels and all others
the chunked ones, so a mixed batch is split by a mask over its rows. In vLLM 0.18.1 that mask lies on the device. Each
index with it reads a size back, and `repeat_interleave` reads two: eight waits for a mixed batch, two for one of
speculative rows alone, in the builder of each group. vLLM #38047 keeps the mask on the host, where the scheduler made
it, and says the size: no waits. Both ways are the same lines here. They differ in where the mask lies.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from syncwatch_kernels.gdn import build_chunk_metadata, upload

from syncwatch_scenarios.serving.scheduler import ScheduledStep, StepKind


@dataclass(frozen=True, slots=True)
class CommonMetadata:
    """What every builder of a step is given; N rows, padding included."""

    step: ScheduledStep
    cu_seqlens: torch.Tensor
    """int32 [N + 1] on the device"""
    speculative: torch.Tensor
    """bool [N] on the device: rows with drafts."""
    speculative_cpu: torch.Tensor
    """bool [N] on the host"""
    goes_on: torch.Tensor
    """bool [N] on the device: rows of requests that have a state."""
    num_accepted: torch.Tensor
    """int32 [N] on the device: how many tokens of each request's last step stand, the first included."""


@dataclass(frozen=True, slots=True)
class DecodeRows:
    """Rows that the decode kernels carry on, token by token."""

    token_index: torch.Tensor | None
    """int64 [tokens]: where their tokens are in the step; None where they are all of it."""
    slots: torch.Tensor
    """int32 [rows, drafts + 1]: the places of a row's states in the pool."""
    cu_seqlens: torch.Tensor
    """int32 [rows + 1]"""
    num_accepted: torch.Tensor
    """int32 [rows]"""


@dataclass(frozen=True, slots=True)
class PrefillRows:
    """Rows that the chunked kernels carry on: prompts, and what has no drafts beside rows that have."""

    token_index: torch.Tensor | None
    """int64 [tokens]: where their tokens are in the step; None where they are all of it."""
    read_slots: torch.Tensor
    """int64 [rows]: the place in the pool where the state now is."""
    write_slots: torch.Tensor
    """int64 [rows]: the first place of the request, which also has its convolution's inputs."""
    conv_offset: torch.Tensor
    """int64 [rows]: how many inputs into that place the last accepted token's window begins."""
    is_new: torch.Tensor
    """bool [rows]: rows whose state is zero, whatever the last owner left in the pool."""
    cu_seqlens: torch.Tensor
    """int32 [rows + 1]"""
    chunk_indices: torch.Tensor
    """int32 [chunks, 2]"""
    chunk_offsets: torch.Tensor
    """int32 [rows + 1]"""


@dataclass(frozen=True, slots=True)
class GdnMetadata:
    """The rows of a step, told apart; at least one kind is there."""

    decode: DecodeRows | None
    prefill: PrefillRows | None


def build_gdn_metadata(common: CommonMetadata, block_table: torch.Tensor, *, masks_on_device: bool) -> GdnMetadata:
    """Build what the layers of one group need.

    Args:
        common: the step, for all groups.
        block_table: int32 [N, drafts + 1] on the device: the places of each row's states in this group's pools; 0 for
            padding.
        masks_on_device: whether rows are chosen by masks on the device, which waits, or on the host.
    """
    kind = common.step.kind
    if kind is StepKind.PREFILL:
        return GdnMetadata(None, _prefill_alone(common, block_table))
    if kind is StepKind.DECODE:
        return GdnMetadata(_decode_alone(common, block_table), None)
    mask = common.speculative if masks_on_device else common.speculative_cpu
    if kind is StepKind.SPECULATIVE:
        return GdnMetadata(_speculative_alone(common, block_table, mask), None)
    return _mixed(common, block_table, mask, output_size=None if masks_on_device else common.step.tokens)


def _mixed(
    common: CommonMetadata, block_table: torch.Tensor, mask: torch.Tensor, output_size: int | None
) -> GdnMetadata:
    """Split a mixed batch: with `mask` on the device, and no `output_size`, eight waits."""
    lengths = common.cu_seqlens.diff()
    token_mask = torch.repeat_interleave(common.speculative, lengths, output_size=output_size)
    order = torch.argsort(token_mask, stable=True)
    prefill_tokens = common.step.prefill_starts[-1]
    carried = _carried(common, block_table)
    decode = DecodeRows(
        token_index=order[prefill_tokens:],
        slots=block_table[mask],
        cu_seqlens=_prefix_sum(lengths[mask]),
        num_accepted=common.num_accepted[mask],
    )
    prefill = _prefill(
        common,
        order[:prefill_tokens],
        carried=carried[~mask],
        cu_seqlens=_prefix_sum(lengths[~mask]),
        goes_on=common.goes_on[~mask],
    )
    return GdnMetadata(decode, prefill)


def _speculative_alone(common: CommonMetadata, block_table: torch.Tensor, mask: torch.Tensor) -> DecodeRows:
    """Leave the padding out: with `mask` on the device, two waits."""
    return DecodeRows(
        token_index=None,
        slots=block_table[mask],
        cu_seqlens=common.cu_seqlens[: len(common.step.rows) + 1],
        num_accepted=common.num_accepted[mask],
    )


def _decode_alone(common: CommonMetadata, block_table: torch.Tensor) -> DecodeRows:
    """Keep the speculative form: the state of a row without drafts is where its last accepted draft left it.

    vLLM took the plain form here, which read the first place: #40738, put right in its 0.33.
    """
    rows = len(common.step.rows)
    return DecodeRows(None, block_table[:rows], common.cu_seqlens[: rows + 1], common.num_accepted[:rows])


def _prefill_alone(common: CommonMetadata, block_table: torch.Tensor) -> PrefillRows:
    return _prefill(common, None, _carried(common, block_table), common.cu_seqlens, common.goes_on)


def _carried(common: CommonMetadata, block_table: torch.Tensor) -> torch.Tensor:
    """Return int64 [N, 3] for each row: its first place, the place of its state, and the count less one.

    The chunked kernels would read the first place, which is right for a prompt alone. A decode row without drafts goes
    on from its last accepted token (vLLM #40738). A count that no step gave is brought into the window, as the
    decode kernels do: vLLM #50021 read wherever it pointed.
    """
    offset = (common.num_accepted - 1).clamp(0, block_table.shape[1] - 1).long()[:, None]
    return torch.cat((block_table[:, :1], block_table.gather(1, offset), offset), dim=1)


def _prefill(
    common: CommonMetadata,
    token_index: torch.Tensor | None,
    carried: torch.Tensor,
    cu_seqlens: torch.Tensor,
    goes_on: torch.Tensor,
) -> PrefillRows:
    """Put the parts together; the chunks are counted on the host either way, as vLLM does since #38361."""
    chunks = build_chunk_metadata(torch.tensor(common.step.prefill_starts, dtype=torch.int32, device="cpu"))
    return PrefillRows(
        token_index=token_index,
        write_slots=carried[:, 0],
        read_slots=carried[:, 1],
        conv_offset=carried[:, 2],
        is_new=~goes_on,
        cu_seqlens=cu_seqlens,
        chunk_indices=upload(chunks.chunk_indices, cu_seqlens.device),
        chunk_offsets=upload(chunks.chunk_offsets, cu_seqlens.device),
    )


def _prefix_sum(lengths: torch.Tensor) -> torch.Tensor:
    """Return int32 [rows + 1] on the device."""
    sums = torch.zeros(len(lengths) + 1, dtype=torch.int32, device=lengths.device)
    torch.cumsum(lengths, 0, out=sums[1:])
    return sums
