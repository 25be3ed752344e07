"""Answers: what do the input batch, the common metadata and flex attention make of the sequence lengths?

They need the longest one, to size what they enqueue; what is too large is masked with the lengths on the device.
"""

from __future__ import annotations

import torch

from syncwatch_scenarios.seq_lens_batch import SeqBatch
from syncwatch_scenarios.seq_lens_traffic import BLOCK_TOKENS

TILE_TOKENS = 256
"""Keys that one program of a split-key attention kernel reads."""


def input_batch(batch: SeqBatch) -> torch.Tensor:
    """Return int64 [T]: where in the cache each token of the step is written."""
    lens = batch.seq_lens.cpu() if batch.bound is None else batch.bound
    blocks = batch.states.blocks_for(int(lens.max()))
    table = batch.states.block_table[:, :blocks].index_select(0, batch.slots)
    row = torch.repeat_interleave(batch.query_lens, output_size=batch.tokens)
    first = batch.seq_lens - batch.query_lens.cumsum(0)
    positions = first.index_select(0, row) + torch.arange(batch.tokens, device=row.device)
    return cache_slots(table, row, positions)


def cache_slots(table: torch.Tensor, row: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Return the place in the cache of `positions` [..] of the sequences in rows `row` [..] of `table` [R, blocks]."""
    block = table[row, positions // BLOCK_TOKENS]
    return block.long() * BLOCK_TOKENS + positions % BLOCK_TOKENS


def common_metadata(batch: SeqBatch) -> torch.Tensor:
    """Return int64 [R, 2], see `tile_plan`: how attention's programs share the keys of each row."""
    lens = batch.seq_lens.cpu() if batch.bound is None else batch.bound
    return tile_plan(batch.seq_lens, int(lens.max()))


def tile_plan(seq_lens: torch.Tensor, longest: int) -> torch.Tensor:
    """Return int64 [R, 2]: keys that all tiles of a row hold together, and tiles that hold any.

    Args:
        seq_lens: int32 [R] on the device.
        longest: no row is longer; it decides how many tiles are looked at.
    """
    starts = torch.arange(0, max(longest, 1), TILE_TOKENS, device=seq_lens.device)
    held = (seq_lens[:, None] - starts).clamp(0, TILE_TOKENS)
    return torch.stack((held.sum(1), (held > 0).sum(1)), dim=1)


def flex_attention(batch: SeqBatch) -> torch.Tensor:
    """Return int64 [R, 2]: how many key blocks the block mask of a row keeps, and the sum of their numbers."""
    lens = batch.seq_lens.cpu() if batch.bound is None else batch.bound
    blocks = batch.states.blocks_for(int(lens.max()))
    table = batch.states.block_table[:, :blocks].index_select(0, batch.slots)
    starts = torch.arange(blocks, device=table.device) * BLOCK_TOKENS
    kept = starts < batch.seq_lens[:, None]
    return torch.stack((kept.sum(1), torch.where(kept, table, 0).sum(1)), dim=1)
