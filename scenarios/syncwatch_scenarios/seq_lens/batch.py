"""What the device knows of a step, and how sequence lengths come to exist there only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from syncwatch_kernels.gdn.index import upload

from syncwatch_scenarios.seq_lens.async_scheduler import Row
from syncwatch_scenarios.seq_lens.traffic import BLOCK_TOKENS

ROW_MULTIPLE = 8
"""Batches are padded at their back to a multiple of this, as for CUDA graphs of a few sizes."""
_CACHED_WIDTH = 64
"""Numbers of a token in the stand-in for MLA's cache of latents."""


@dataclass(frozen=True, slots=True)
class SlotStates:
    """What the device carries from step to step; the slot after the last is for padding."""

    computed: torch.Tensor
    """int32 [slots + 1]: tokens computed and accepted."""

    block_table: torch.Tensor
    """int32 [slots + 1, blocks]: where the blocks of each slot are."""

    cache: torch.Tensor
    """float32 [(slots + 1) * blocks * BLOCK_TOKENS, 64]: latents; only read, so that a step can be run again."""

    draws: torch.Tensor
    """int32 [DRAW_ROWS, k]: the random numbers of the rejection sampler."""

    @classmethod
    def create(cls, slots: int, longest: int, draws: torch.Tensor, device: torch.device) -> SlotStates:
        """Lay out blocks at random, `longest` tokens for each slot."""
        blocks = longest // BLOCK_TOKENS
        table = torch.randperm((slots + 1) * blocks, device=device).to(torch.int32).view(slots + 1, blocks)
        cache = torch.randn((slots + 1) * longest, _CACHED_WIDTH, device=device)
        return cls(torch.zeros(slots + 1, dtype=torch.int32, device=device), table, cache, upload(draws, device))

    @property
    def slots(self) -> int:
        """How many slots there are, without that for padding."""
        return len(self.computed) - 1

    def blocks_for(self, tokens: int) -> int:
        """Return how many columns of the block table hold `tokens`; never more than there are."""
        return min(-(-tokens // BLOCK_TOKENS), self.block_table.shape[1])


@dataclass(frozen=True, slots=True)
class SeqBatch:
    """One step: R rows, padding included; T tokens."""

    rows: tuple[Row, ...]
    """The rows as scheduled, without padding."""

    states: SlotStates

    bound: torch.Tensor | None
    """int32 [R] on the CPU, at least `seq_lens`; None where the host has to ask the device."""

    query_lens_cpu: torch.Tensor
    """int32 [R] on the CPU; 0 on padding."""

    seq_lens: torch.Tensor
    """int32 [R]: tokens of each sequence after this step's. They depend on what the device accepted before."""

    query_lens: torch.Tensor
    """int32 [R]"""

    slots: torch.Tensor
    """int64 [R]"""

    drafts: torch.Tensor
    """int64 [R]: drafts to verify."""

    draw: torch.Tensor
    """int64 [R]: the row of random numbers that verifies them."""

    @property
    def prefills(self) -> slice:
        """The rows that compute a piece of a prompt; they come after the decodes."""
        decodes = sum(not row.is_prefill for row in self.rows)
        return slice(decodes, len(self.rows))

    @property
    def tokens(self) -> int:
        """All tokens of the step."""
        return sum(row.query_len for row in self.rows)


def padded_rows(rows: int) -> int:
    """Return the size of the batch that holds `rows`."""
    return -(-rows // ROW_MULTIPLE) * ROW_MULTIPLE


def assemble(rows: Sequence[Row], states: SlotStates, bound: torch.Tensor | None, device: torch.device) -> SeqBatch:
    """Enqueue what the device needs to know of a step; one copy, for which the host does not wait."""
    host = np.zeros((6, padded_rows(len(rows))), dtype=np.int64)
    host[1] = states.slots
    for index, row in enumerate(rows):
        host[:, index] = (row.query_len, row.slot, row.begins, row.computed, row.drafts, row.draw)
    query_lens, slots, begins, computed, drafts, draw = upload(torch.from_numpy(host), device)
    before = torch.where(begins > 0, computed, states.computed.index_select(0, slots))
    live = query_lens > 0
    return SeqBatch(
        rows=tuple(rows),
        states=states,
        bound=bound,
        query_lens_cpu=torch.from_numpy(host[0].astype(np.int32)),
        seq_lens=torch.where(live, before + query_lens, 0).to(torch.int32),
        query_lens=query_lens.to(torch.int32),
        slots=slots,
        drafts=drafts,
        draw=draw,
    )


def verify(batch: SeqBatch, acceptance: int) -> torch.Tensor:
    """Accept drafts up to the first that is refused, and set the states back by the others.

    Args:
        batch: a step that has run.
        acceptance: thousandths of the drafts that are accepted.

    Returns:
        int32 [R] on the device: drafts rejected. Nobody on the host knows them.
    """
    accepted = (batch.states.draws.index_select(0, batch.draw) < acceptance).cumprod(1).sum(1)
    rejected = torch.where(batch.drafts > 0, batch.drafts - accepted, 0).to(torch.int32)
    batch.states.computed.index_copy_(0, batch.slots, batch.seq_lens - rejected)
    return rejected
