"""Brings what the scheduler decided to the device: host tensors through pinned memory, no waits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from syncwatch_kernels.gdn import upload

from syncwatch_scenarios.serving.scheduler import Request, ScheduledStep
from syncwatch_scenarios.spec_decode.metadata import CommonMetadata
from syncwatch_scenarios.spec_decode.sampling import Outcome, SampleLayout

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class RequestTables:
    """What the device alone knows of each request until the host has read it, by seat; seat 0 is padding."""

    tokens: torch.Tensor
    """int64 [seats + 1, drafts + 1]: the token that comes next, then its drafts."""
    num_accepted: torch.Tensor
    """int32 [seats + 1]: how many tokens of the last step stand."""
    positions: torch.Tensor
    """int64 [seats + 1]: outputs so far."""

    @classmethod
    def create(cls, seats: int, drafts: int, device: torch.device) -> RequestTables:
        """Return tables of a server that has served nobody."""
        return cls(
            torch.zeros(seats + 1, drafts + 1, dtype=torch.int64, device=device),
            torch.ones(seats + 1, dtype=torch.int32, device=device),
            torch.zeros(seats + 1, dtype=torch.int64, device=device),
        )

    def update(self, inputs: StepInputs, outcome: Outcome, drafts: torch.Tensor) -> None:
        """Note what a step decided; `drafts` int64 [N, drafts] follow the tokens it sampled."""
        seats = inputs.seats
        self.tokens.index_copy_(0, seats, torch.cat((outcome.next_tokens[:, None], drafts), dim=1))
        self.num_accepted.index_copy_(0, seats, outcome.num_accepted.int())
        self.positions.index_copy_(0, seats, self.outputs_before(inputs) + outcome.num_accepted)

    def outputs_before(self, inputs: StepInputs) -> torch.Tensor:
        """Return int64 [N]: outputs that each request had before the step; none while its prompt is read."""
        return self.positions.index_select(0, inputs.seats).masked_fill(inputs.in_prompt, 0)


@dataclass(frozen=True, slots=True)
class StepInputs:
    """A step on the device; N rows without padding."""

    codes: torch.Tensor
    """int64 [T]: a prompt token, or below zero the place of one in `RequestTables.tokens`, as -1 - place."""
    seats: torch.Tensor
    """int64 [N]"""
    in_prompt: torch.Tensor
    """bool [N]"""
    layout: SampleLayout
    common: CommonMetadata

    def token_ids(self, tables: RequestTables) -> torch.Tensor:
        """Return int64 [T]: what the model reads. Sampled tokens have never been on the host."""
        sampled = tables.tokens.flatten()[(-1 - self.codes).clamp_min(0)]
        return torch.where(self.codes >= 0, self.codes, sampled)


class InputBuilder:
    """Builds the inputs of steps for one seed and one vocabulary."""

    def __init__(self, vocabulary: int, drafts: int, seed: int, device: torch.device) -> None:
        self._vocabulary = vocabulary
        self._width = drafts + 1
        self._seed = seed
        self._device = device

    def build(self, step: ScheduledStep, tables: RequestTables) -> StepInputs:
        """Enqueue the copies of what `step` needs."""
        rows, padding = step.rows, [0] * step.padding
        seats = [row.seat for row in rows]
        drafts = np.array(step.drafts)
        speculative = torch.from_numpy(np.concatenate((drafts > 0, np.zeros(step.padding, dtype=bool))))
        common = CommonMetadata(
            step=step,
            cu_seqlens=self._upload([*step.starts, *(step.tokens for _ in padding)], torch.int32),
            speculative=upload(speculative, self._device),
            speculative_cpu=speculative,
            goes_on=self._upload([*(row.prompt_start != 0 for row in rows), *padding], torch.bool),
            num_accepted=tables.num_accepted.index_select(0, self._upload([*seats, *padding], torch.int64)),
        )
        return StepInputs(
            codes=upload(torch.from_numpy(self._codes(step, np.array(seats))), self._device),
            seats=self._upload(seats, torch.int64),
            in_prompt=self._upload([row.prompt_start is not None for row in rows], torch.bool),
            layout=self._layout(step, drafts),
            common=common,
        )

    def _codes(self, step: ScheduledStep, seats: Integers) -> Integers:
        starts = np.array(step.starts)
        places = np.repeat(seats * self._width - starts[:-1], np.diff(starts)) + np.arange(step.tokens)
        codes = -1 - places
        for row, start in zip(step.rows, step.starts, strict=False):
            if row.prompt_start is not None:
                prompt = draw_prompt(row.request, self._vocabulary, self._seed)
                codes[start : start + row.tokens] = prompt[row.prompt_start : row.prompt_start + row.tokens]
        return codes

    def _layout(self, step: ScheduledStep, drafts: Integers) -> SampleLayout:
        ends = np.array(step.starts[1:])
        firsts = np.cumsum(drafts + 1) - (drafts + 1)
        sampled = int((drafts + 1).sum())
        tokens = np.repeat(ends - 1 - drafts - firsts, drafts + 1) + np.arange(sampled)
        targets = firsts[:, None] + np.minimum(np.arange(self._width), drafts[:, None])
        return SampleLayout(
            tokens=upload(torch.from_numpy(tokens), self._device),
            targets=upload(torch.from_numpy(targets), self._device),
            drafts=upload(torch.from_numpy(drafts), self._device),
            requests=self._upload([row.request.number for row in step.rows], torch.int64),
        )

    def _upload(self, values: Sequence[object], dtype: torch.dtype) -> torch.Tensor:
        return upload(torch.tensor(values, dtype=dtype, device="cpu"), self._device)


def draw_block_tables(seats: int, drafts: int, groups: int) -> list[torch.Tensor]:
    """Return for each KV-cache group int32 [seats + 1, drafts + 1] on the host: the places in its pools, from 1.

    Each group hands its places out in another order, as groups have allocators of their own. Row 0 has no places.
    """
    width = drafts + 1
    tables = []
    for group in range(groups):
        order = (torch.arange(seats, dtype=torch.int32, device="cpu") + group) % seats
        places = 1 + order[:, None] * width + torch.arange(width, dtype=torch.int32, device="cpu")
        tables.append(torch.cat((torch.zeros(1, width, dtype=torch.int32, device="cpu"), places)))
    return tables


def draw_prompt(request: Request, vocabulary: int, seed: int) -> npt.NDArray[np.int64]:
    """Return the tokens of the prompt, int64 [prompt_tokens], each below `vocabulary`."""
    generator = np.random.default_rng((seed, request.number))
    return generator.integers(vocabulary, size=request.prompt_tokens)
