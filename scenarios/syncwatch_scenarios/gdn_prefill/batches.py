"""The sequences of each prefill step, and what the device gets to know about them."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

import torch
from syncwatch_kernels.gdn import build_chunk_metadata, upload

from syncwatch.errors import UsageError
from syncwatch_scenarios.hybrid_model.layers import StepMetadata

_MAX_SEQUENCES = 65536


@dataclass(frozen=True, slots=True)
class Batch:
    """The sequences of one step, as the scheduler knows them: on the host."""

    lengths: tuple[int, ...]
    """Tokens of each sequence in this step."""

    is_new: tuple[bool, ...]
    """Whether a sequence begins here; the others go on from a state."""


def parse_lengths(text: str) -> tuple[int, ...] | None:
    """Return the lengths that `text` names, as `8x1024` or `2x512,100`; None for `ragged`, which are drawn.

    Raises:
        UsageError: if it names none, or more than 65,536.
    """
    if text == "ragged":
        return None
    lengths: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"(?:([1-9]\d{0,5})x)?([1-9]\d{0,6})", part.strip())
        if found is None or len(lengths) + int(found[1] or 1) > _MAX_SEQUENCES:
            raise UsageError(f"--lengths {text!r} names no batch. Give it as 8x1024, 512,100 or ragged.")
        lengths += [int(found[2])] * int(found[1] or 1)
    return tuple(lengths)


def draw_batch(tokens: int, sequences: int, seed: int, index: int) -> Batch:
    """Draw the ragged batch of step `index`: `tokens` in all, at least one for each of the `sequences`."""
    generator = random.Random(f"{seed}, step {index}")
    cuts = sorted(generator.sample(range(1, tokens), sequences - 1))
    lengths = tuple(end - start for start, end in pairwise((0, *cuts, tokens)))
    return Batch(lengths, tuple(generator.random() < 0.5 for _ in lengths))


def fixed_batch(lengths: tuple[int, ...], seed: int, index: int) -> Batch:
    """Return the batch of step `index` that has `lengths`; which sequences are new is drawn."""
    generator = random.Random(f"{seed}, step {index}")
    return Batch(lengths, tuple(generator.random() < 0.5 for _ in lengths))


def upload_metadata(batch: Batch, device: torch.device, *, precomputed: bool, pinned: bool) -> StepMetadata:
    """Enqueue the copies of a step's metadata; the host does not wait for them where they are pinned.

    Args:
        batch: the sequences of the step.
        device: where the kernels run.
        precomputed: whether the chunks are counted here, on the host, and sent along.
        pinned: whether the copies go through pinned memory. From pageable memory the driver takes small ones into a
            buffer of its own, and lets the host wait for large ones; vLLM #38361 sent its metadata that way.
    """
    send = upload if pinned else _upload_pageable
    cu_seqlens_cpu = torch.tensor((0, *accumulate(batch.lengths)), dtype=torch.int32)
    sent = StepMetadata(send(cu_seqlens_cpu, device), send(torch.tensor(batch.is_new), device), None, None)
    if not precomputed:
        return sent
    chunks = build_chunk_metadata(cu_seqlens_cpu)
    return replace(
        sent, chunk_indices=send(chunks.chunk_indices, device), chunk_offsets=send(chunks.chunk_offsets, device)
    )


def _upload_pageable(host: torch.Tensor, device: torch.device) -> torch.Tensor:
    return host.to(device, non_blocking=True)
