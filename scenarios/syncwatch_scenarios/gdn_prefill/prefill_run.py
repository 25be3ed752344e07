"""One run of `gdn-prefill`: its options made into shapes, host work and batches, and what the device is told."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

import torch
from syncwatch_kernels.gdn import build_chunk_metadata, upload

from syncwatch.bench import require_range
from syncwatch.errors import UsageError
from syncwatch_scenarios.gdn_prefill import MAX_TOKENS, PrefillOptions
from syncwatch_scenarios.gdn_prefill.host_work import HostWork, Regime, host_work_in, tokens_in
from syncwatch_scenarios.hybrid_model.layers import StepMetadata
from syncwatch_scenarios.hybrid_model.sizes import ATTENTION_INTERVAL, PRESETS, ModelShape

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


@dataclass(frozen=True, slots=True)
class PrefillRun:
    """What a run of the scenario is made of."""

    preset: str
    shape: ModelShape
    lengths: tuple[int, ...] | None
    """Tokens of each sequence, the same in every step; None where they are drawn anew for each."""
    regime: str | None
    work: HostWork | None
    """What the host does in each step besides launching."""
    cache_miss: bool
    seed: int

    def batch(self, index: int) -> Batch:
        """Return the sequences of step `index`."""
        if self.lengths is not None:
            return fixed_batch(self.lengths, self.seed, index)
        return draw_batch(self.shape.tokens, self.shape.batch, self.seed, index)

    @property
    def parameters(self) -> dict[str, str]:
        """What is run, for the report."""
        shape = self.shape
        attention = shape.layers // ATTENTION_INTERVAL
        return {
            "preset": self.preset,
            "layers": f"{shape.layers - attention} GDN, {attention} in place of attention",
            "hidden size": str(shape.hidden),
            "GDN heads": f"{shape.key_heads} key, {shape.value_heads} value, of {shape.head_size}",
            "tokens a step": str(shape.tokens),
            "sequences a step": self._sequences(),
            "metadata cache": "missed at each layer" if self.cache_miss else "by identity, fresh objects each step",
            "regime": self.regime or "none",
            "host work": _described(self.work),
            "dtype": "bfloat16, state float32",
            "seed": str(self.seed),
        }

    def _sequences(self) -> str:
        if self.lengths is None:
            return f"{self.shape.batch}, ragged"
        if len(set(self.lengths)) == 1:
            return f"{len(self.lengths)} of {self.lengths[0]}"
        return f"{len(self.lengths)} of {min(self.lengths)} to {max(self.lengths)}"


def _described(work: HostWork | None) -> str:
    if work is None:
        return "launching only"
    low, high = round(100 * (1 - work.spread)), round(100 * (1 + work.spread))
    return f"{work.mean_us / 1000:g} ms a step besides launching, {low} to {high} % of it by step"


def prefill_run(options: PrefillOptions) -> PrefillRun:
    """Return the run that the user chose.

    Raises:
        UsageError: if an option is out of range, with the range, or two contradict each other.
    """
    preset = options.preset
    regime = None if options.regime is None else Regime(options.regime)
    shape = PRESETS[preset]
    if regime is not None:
        shape = replace(shape, tokens=tokens_in(regime, preset, shape.tokens))
    lengths = _fixed_lengths(options)
    shape = _drawn_shape(shape, options) if lengths is None else _fixed_shape(shape, lengths)
    layers = shape.layers if options.layers is None else options.layers
    shape = replace(shape, layers=layers)
    work = None if regime is None else host_work_in(regime, preset, shape)
    return PrefillRun(preset, shape, lengths, options.regime, work, options.cache_miss, options.seed)


def _fixed_lengths(options: PrefillOptions) -> tuple[int, ...] | None:
    lengths = parse_lengths(options.lengths)
    if lengths is not None:
        for option, given in (("--tokens", options.tokens), ("--batch", options.batch)):
            if given is not None:
                raise UsageError(f"--lengths {options.lengths} and {option} say the same twice. Leave {option} out.")
    return lengths


def _fixed_shape(shape: ModelShape, lengths: tuple[int, ...]) -> ModelShape:
    require_range("the sum of --lengths", sum(lengths), 1, MAX_TOKENS)
    return replace(shape, tokens=sum(lengths), batch=len(lengths))


def _drawn_shape(shape: ModelShape, options: PrefillOptions) -> ModelShape:
    tokens = shape.tokens if options.tokens is None else options.tokens
    batch = min(shape.batch, tokens) if options.batch is None else options.batch
    require_range("--batch", batch, 1, tokens)
    return replace(shape, tokens=tokens, batch=batch)
