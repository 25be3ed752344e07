"""What cross attention and MLA make of the context lengths, the tokens computed before this step.

Cross attention needs to know whether there are any, MLA how many the prefill rows have. The bound is exact in both:
nothing was ever rejected of a prompt, and a decode row has context however many of its drafts were refused.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from syncwatch_kernels.gdn.staging import upload

from syncwatch_scenarios.seq_lens.batch import SeqBatch
from syncwatch_scenarios.seq_lens.planning import cache_slots
from syncwatch_scenarios.seq_lens.traffic import BLOCK_TOKENS

_ENCODER_TOKENS = 32
"""Keys of the encoder, for each request; they are written in its first step."""
_NOT_WRITTEN = -1


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
