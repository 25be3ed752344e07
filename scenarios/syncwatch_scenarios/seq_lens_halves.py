"""Answers: what does each half of a batch know of the sequence lengths, when the cut goes through a request?

Two micro-batches overlap the communication of one with the computation of the other. They are cut at half of the
tokens, wherever that is: the request in the middle then ends at the cut in the first half, and goes on from there in
the second, with all tokens before it as context.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch

from syncwatch_scenarios.seq_lens_batch import SeqBatch
from syncwatch_scenarios.seq_lens_planning import tile_plan


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a batch is cut in two."""

    first: slice
    """Rows of the first half."""
    second: slice
    """Rows of the second half; padding is its back."""
    skipped: int
    """Tokens of the first half's last row that are left to the second half; 0 where the cut is between two rows."""


def cut_at(query_lens: Sequence[int], token: int) -> Cut:
    """Cut the batch before token number `token`.

    Args:
        query_lens: tokens of each row; 0 on padding, which is at the back.
        token: from 0 to all tokens.
    """
    ends = list(accumulate(query_lens))
    row = sum(length > 0 and end <= token for end, length in zip(ends, query_lens, strict=True))
    left = ends[row] - token if row < len(ends) else 0
    skipped = left if 0 < left < query_lens[row] else 0
    return Cut(slice(0, row + (skipped > 0)), slice(row, len(ends)), skipped)


def halves(lens: torch.Tensor, cut: Cut) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the lengths that each half has, given those of the whole [R]; on either device.

    The first half's last row ends at the cut. The second half keeps the full length.
    """
    first = lens[cut.first].clone()
    first[-1:] -= cut.skipped
    return first, lens[cut.second]


def micro_batches(batch: SeqBatch) -> torch.Tensor:
    """Return int64 [rows of both halves, 3]: their lengths, and their plan as of `tile_plan`."""
    lens = batch.seq_lens.cpu() if batch.bound is None else batch.bound
    cut = cut_at(batch.query_lens_cpu.tolist(), batch.tokens // 2)
    plans = []
    for half, half_cpu in zip(halves(batch.seq_lens, cut), halves(lens, cut), strict=True):
        longest = int(half_cpu.max()) if len(half_cpu) else 0
        plans.append(torch.cat((half[:, None], tile_plan(half, longest)), dim=1))
    return torch.cat(plans)
