"""Batches over a pool of states, with their results in float64, for tests of the decode kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeAlias

import torch
from syncwatch_kernels.gdn import recurrent_gated_delta_rule_decode
from syncwatch_kernels.gdn.reference import reference_l2norm
from syncwatch_kernels.gdn.reference_decode import reference_recurrent_decode
from torch.nn import functional

from tests.helpers.kernel_fixtures import assert_close

FLOAT32 = 1e-5
"""Largest relative RMSE of float32 arithmetic against float64, over a few tokens."""


Tokens: TypeAlias = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]
"""q, k, v, g, beta."""


@dataclass(frozen=True)
class Batch:
    """Arguments of one decode step."""

    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor
    g: torch.Tensor
    beta: torch.Tensor
    slots: list[list[int]]
    cu_seqlens: list[int]
    accepted: list[int] | None

    @property
    def tensors(self) -> Tokens:
        return self.q, self.k, self.v, self.g, self.beta

    def run(self, states: torch.Tensor) -> torch.Tensor:
        device = states.device
        slots = torch.tensor(self.slots, dtype=torch.int32)
        accepted = None if self.accepted is None else torch.tensor(self.accepted, dtype=torch.int32, device=device)
        cu_seqlens = torch.tensor(self.cu_seqlens, dtype=torch.int32, device=device)
        slots = (slots[:, 0] if accepted is None else slots).to(device)
        return recurrent_gated_delta_rule_decode(*self.tensors, states, slots, cu_seqlens, accepted)

    def truth(self, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the outputs and the pool after the step by the definition, in float64."""
        q, k, v, g, beta = (each.double() for each in self.tensors)
        return reference_recurrent_decode(
            reference_l2norm(q), reference_l2norm(k), v, g, beta, states.double(), self.slots, self.cu_seqlens,
            self.accepted,
        )  # fmt: skip

    def row(self, index: int) -> Batch:
        """Return a batch of row `index` alone."""
        start, end = self.cu_seqlens[index], self.cu_seqlens[index + 1]
        accepted = None if self.accepted is None else [self.accepted[index]]
        return Batch(*between(self.tensors, start, end), [self.slots[index]], [0, end - start], accepted)


def between(tokens: Tokens, start: int, end: int) -> Tokens:
    """Return the tokens from `start` to before `end`, contiguous."""
    q, k, v, g, beta = (each[:, start:end].contiguous() for each in tokens)
    return q, k, v, g, beta


def make_tokens(
    tokens: int, heads: tuple[int, int], size: int, value_size: int, dtype: torch.dtype, device: str
) -> Tokens:
    """Draw q, k, v, g, beta; some heads hardly decay, others have forgotten a token a few tokens later."""
    key_heads, value_heads = heads

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, device=device)

    rates = torch.linspace(-4.0, 1.0, value_heads, device=device).exp()
    return (
        normal(1, tokens, key_heads, size).to(dtype),
        normal(1, tokens, key_heads, size).to(dtype),
        normal(1, tokens, value_heads, value_size).to(dtype),
        -rates * functional.softplus(normal(1, tokens, value_heads)),
        normal(1, tokens, value_heads).sigmoid(),
    )


def make_batch(
    lengths: Sequence[int],
    slots: list[list[int]],
    accepted: list[int] | None = None,
    *,
    heads: tuple[int, int] = (1, 2),
    size: int = 16,
    value_size: int | None = None,
    dtype: torch.dtype = torch.bfloat16,
    device: str = "cpu",
    padding: int = 0,
) -> Batch:
    """Draw a step whose rows have `lengths` tokens, followed by `padding` tokens of no row, which are NaN."""
    tensors = make_tokens(sum(lengths) + padding, heads, size, value_size or size, dtype, device)
    for each in tensors:
        each[:, sum(lengths) :] = float("nan")
    return Batch(*tensors, slots, [0, *accumulate(lengths)], accepted)


def make_pool(slots: int, batch: Batch, used: Sequence[int]) -> torch.Tensor:
    """Return a pool of states in which every slot outside `used` is NaN."""
    _, _, heads, value_size = batch.v.shape
    pool = torch.full((slots, heads, value_size, batch.k.shape[3]), float("nan"), device=batch.v.device)
    pool[list(used)] = torch.randn(len(used), *pool.shape[1:], device=batch.v.device)
    return pool


def check(batch: Batch, states: torch.Tensor, written: list[int], tolerance: float = FLOAT32) -> torch.Tensor:
    """Run `batch`; the output and the `written` slots must agree with float64, all other slots keep their bits."""
    before = states.clone()
    true_o, true_states = batch.truth(states)

    o = batch.run(states)

    assert_close(o, true_o, 0.005 if o.dtype == torch.bfloat16 else tolerance)
    assert_close(states[written], true_states[written], tolerance)
    others = [slot for slot in range(len(states)) if slot not in written]
    assert torch.equal(states[others].view(torch.int32), before[others].view(torch.int32))
    return o
