"""Answers: what does the draft loop make of the sequence lengths, which its own step has just changed?

Verification leaves some drafts out, so that the sequences end earlier than the step believed. The lengths are corrected
on the device. A host that wants to know them exactly waits for the whole step; the bound of the step is a bound of the
corrected lengths as well.
"""

from __future__ import annotations

import torch

from syncwatch_scenarios.gdn_layers import FeedForward
from syncwatch_scenarios.seq_lens_batch import SeqBatch
from syncwatch_scenarios.seq_lens_planning import cache_slots, tile_plan

_NOT_WRITTEN = -1


def draft_loop(
    batch: SeqBatch, rejected: torch.Tensor, hidden: torch.Tensor, layer: FeedForward, drafts: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Propose the next drafts, one pass of the draft layer for each.

    Args:
        batch: the step whose drafts were verified.
        rejected: int32 [R] on the device, from `verify`.
        hidden: [R, hidden] of each row's last token.
        layer: the draft model.
        drafts: passes.

    Returns:
        Plans int64 [R, 3 * drafts]: of each pass where its token is written, -1 on padding, and its `tile_plan`; then
        the last hidden states [R, hidden].
    """
    seq_lens = batch.seq_lens - rejected
    lens = seq_lens.cpu() if batch.bound is None else batch.bound
    longest = int(lens.max())
    live = batch.query_lens > 0
    row = torch.arange(len(seq_lens), device=seq_lens.device)
    plans = []
    for number in range(drafts):
        blocks = batch.states.blocks_for(longest + number + 1)
        table = batch.states.block_table[:, :blocks].index_select(0, batch.slots)
        written = torch.where(live, cache_slots(table, row, seq_lens + number), _NOT_WRITTEN)
        attended = torch.where(live, seq_lens + (number + 1), 0)
        plans += [written[:, None], tile_plan(attended, longest + number + 1)]
        hidden = layer(hidden)
    return torch.cat(plans, dim=1), hidden
