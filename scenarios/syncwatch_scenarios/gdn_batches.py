"""Answers: which sequences are in a step, and what does the device get to know about them?"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

import torch
from syncwatch_kernels.gdn import build_chunk_metadata, upload


@dataclass(frozen=True, slots=True)
class Batch:
    """The sequences of one step, as the scheduler knows them: on the host."""

    lengths: tuple[int, ...]
    """Tokens of each sequence in this step."""

    is_new: tuple[bool, ...]
    """Whether a sequence begins here; the others go on from a state."""


@dataclass(frozen=True, slots=True)
class StepMetadata:
    """What the kernels of one step are told, on the device."""

    cu_seqlens: torch.Tensor
    """int32 [N + 1]"""

    is_new: torch.Tensor
    """bool [N]"""

    chunk_indices: torch.Tensor | None
    """int32 [NT, 2], or None where the ops are left to find it."""

    chunk_offsets: torch.Tensor | None
    """int32 [N + 1], or None where the ops are left to find it."""

    def under_another_name(self) -> StepMetadata:
        """Return the same values with another `cu_seqlens` object, which no identity cache knows."""
        return replace(self, cu_seqlens=self.cu_seqlens.view(-1))


def draw_batch(tokens: int, sequences: int, seed: int, index: int) -> Batch:
    """Draw the ragged batch of step `index`: `tokens` in all, at least one for each of the `sequences`."""
    generator = random.Random(f"{seed}, step {index}")
    cuts = sorted(generator.sample(range(1, tokens), sequences - 1))
    lengths = tuple(end - start for start, end in pairwise((0, *cuts, tokens)))
    return Batch(lengths, tuple(generator.random() < 0.5 for _ in lengths))


def upload_metadata(batch: Batch, device: torch.device, *, precomputed: bool) -> StepMetadata:
    """Enqueue the copies of a step's metadata; the host does not wait.

    Args:
        batch: the sequences of the step.
        device: where the kernels run.
        precomputed: whether the chunks are counted here, on the host, and sent along.
    """
    cu_seqlens_cpu = torch.tensor((0, *accumulate(batch.lengths)), dtype=torch.int32)
    sent = StepMetadata(upload(cu_seqlens_cpu, device), upload(torch.tensor(batch.is_new), device), None, None)
    if not precomputed:
        return sent
    chunks = build_chunk_metadata(cu_seqlens_cpu)
    return replace(
        sent,
        chunk_indices=upload(chunks.chunk_indices, device),
        chunk_offsets=upload(chunks.chunk_offsets, device),
    )
