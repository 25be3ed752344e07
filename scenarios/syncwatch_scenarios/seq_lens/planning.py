"""What the seven places of a step make of the sequence lengths, two of them of the tokens computed before this step.

The input batch, the common metadata and flex attention need the longest one, to size what they enqueue; what is too
large is masked with the lengths on the device.

Two micro-batches overlap the communication of one with the computation of the other. They are cut at half of the
tokens, wherever that is: the request in the middle then ends at the cut in the first half, and goes on from there in
the second, with all tokens before it as context.

In the draft loop the lengths have just changed: verification leaves some drafts out, so that the sequences end earlier
than the step believed. They are corrected on the device. A host that wants to know them exactly waits for the whole
step; the bound of the step is a bound of the corrected lengths as well.

Cross attention needs to know whether there are any, MLA how many the prefill rows have. The bound is exact in both:
nothing was ever rejected of a prompt, and a decode row has context however many of its drafts were refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from syncwatch_kernels.gdn.index import upload

from syncwatch_scenarios.hybrid_model.layers import FeedForward
from syncwatch_scenarios.seq_lens.batch import SeqBatch
from syncwatch_scenarios.seq_lens.traffic import BLOCK_TOKENS

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


_ENCODER_TOKENS = 32
"""Keys of the encoder, for each request; they are written in its first step."""


def cross_attention(batch: SeqBatch) -> torch.Tensor:
    """Return int64 [R, 32]: where encoder keys are written, -1 in rows that have theirs from an earlier step."""
    lens = batch.seq_lens.cpu() if batch.bound is None else batch.bound
    has_context = lens > batch.query_lens_cpu
    new = torch.nonzero(~has_context & (batch.query_lens_cpu > 0)).squeeze(1)
    device = batch.slots.device
    rows = upload(new, device)
    written = batch.slots.index_select(0, rows)[:, None] * _ENCODER_TOKENS
    written = written + torch.arange(_ENCODER_TOKENS, device=device)
    nothing = torch.full((len(batch.slots), _ENCODER_TOKENS), _NOT_WRITTEN, dtype=torch.int64, device=device)
    return nothing.index_copy_(0, rows, written)


@dataclass(frozen=True, slots=True)
class ContextPlan:
    """How the context of P rows is read, `chunk` tokens of each at a time; on the host."""

    chunk: int
    """Tokens; a multiple of a block."""

    starts: tuple[int, ...]
    """First position of each chunk, in every row."""


def plan_context(context: torch.Tensor, workspace: int) -> ContextPlan:
    """Share a workspace of `workspace` tokens between the rows that have context.

    Args:
        context: integers [P] on the CPU, tokens computed before the step.
        workspace: tokens that can be gathered at once; at least one block a row is taken in any case.
    """
    sharing = int((context > 0).sum())
    if not sharing:
        return ContextPlan(BLOCK_TOKENS, ())
    chunk = max(workspace // sharing // BLOCK_TOKENS, 1) * BLOCK_TOKENS
    return ContextPlan(chunk, tuple(range(0, int(context.max()), chunk)))


def mla_context(batch: SeqBatch, queries: torch.Tensor, workspace: int) -> torch.Tensor:
    """Attend to the context of the prefill rows, chunk by chunk, as MLA does where it does not fit its workspace.

    Args:
        batch: the step.
        queries: float32 [R or more, 64]; one a row.
        workspace: tokens that are gathered at once.

    Returns:
        float32 [P, 64], zero in rows without context.
    """
    lens = batch.seq_lens.cpu() if batch.bound is None else batch.bound
    rows = batch.prefills
    plan = plan_context((lens - batch.query_lens_cpu)[rows], workspace)
    context = (batch.seq_lens - batch.query_lens)[rows]
    table = batch.states.block_table.index_select(0, batch.slots[rows])
    queries = queries[: len(context)]
    merged = _Merged.empty(queries)
    for start in plan.starts:
        positions = torch.arange(start, start + plan.chunk, device=context.device).expand(len(context), -1)
        held = positions < context[:, None]
        row = torch.arange(len(context), device=context.device)[:, None]
        gathered = batch.states.cache[cache_slots(table, row, torch.where(held, positions, 0))]
        merged = merged.with_chunk(queries, gathered, held)
    return merged.output


@dataclass(frozen=True, slots=True)
class _Merged:
    """Attention over the chunks so far, the softmax kept as in flash decoding: maximum, sum and output apart."""

    maximum: torch.Tensor
    """[P, 1]"""
    total: torch.Tensor
    """[P, 1]"""
    weighted: torch.Tensor
    """[P, 64]"""

    @classmethod
    def empty(cls, queries: torch.Tensor) -> _Merged:
        column = torch.zeros_like(queries[:, :1])
        return cls(torch.full_like(column, -1e30), column, torch.zeros_like(queries))

    def with_chunk(self, queries: torch.Tensor, keys: torch.Tensor, held: torch.Tensor) -> _Merged:
        """Add a chunk of keys [P, chunk, 64], of which those in `held` [P, chunk] count."""
        scores = torch.bmm(keys, queries[:, :, None]).squeeze(2) * queries.shape[1] ** -0.5
        scores = scores.masked_fill(~held, -1e30)
        maximum = torch.maximum(self.maximum, scores.amax(1, keepdim=True))
        weights = torch.exp(scores - maximum).masked_fill(~held, 0.0)
        faded = torch.exp(self.maximum - maximum)
        total = self.total * faded + weights.sum(1, keepdim=True)
        weighted = self.weighted * faded + torch.bmm(weights[:, None], keys).squeeze(1)
        return _Merged(maximum, total, weighted)

    @property
    def output(self) -> torch.Tensor:
        return self.weighted / self.total.clamp(min=torch.finfo(torch.float32).tiny)
