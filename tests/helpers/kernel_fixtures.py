"""For tests of the kernels: inputs, results in float64, the measure of error, and fresh memory filled with NaN."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import pytest
import torch
from syncwatch_kernels.gdn.reference import reference_recurrent
from torch.nn import functional

TOLERANCE = 0.005
"""Largest relative RMSE against float64: what correct kernels lose by rounding their intermediates to bfloat16."""


@dataclass(frozen=True)
class Problem:
    """Arguments of the gated delta rule, as a layer would have them after its projections."""

    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor
    g: torch.Tensor
    beta: torch.Tensor
    cu_seqlens_cpu: torch.Tensor
    initial_state: torch.Tensor | None

    @property
    def cu_list(self) -> list[int]:
        result: list[int] = self.cu_seqlens_cpu.tolist()
        return result

    @property
    def cu_seqlens(self) -> torch.Tensor:
        """The prefix sums on the device, a new tensor at each access, as a server makes one for each step."""
        return self.cu_seqlens_cpu.to(self.q.device, copy=True)

    @property
    def tensors(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        return self.q, self.k, self.v, self.g, self.beta

    def truth(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return outputs and final states by the definition, in float64."""
        q, k, v, g, beta = (each.double() for each in self.tensors)
        return reference_recurrent(q, k, v, g, beta, self.cu_list, double(self.initial_state))


def make_problem(
    lengths: Sequence[int],
    heads: tuple[int, int],
    size: int,
    *,
    with_state: bool,
    device: str = "cpu",
    value_size: int | None = None,
    dtype: torch.dtype = torch.bfloat16,
) -> Problem:
    """Draw a problem; q and k are unit vectors, and some heads hardly decay, others forget within a chunk."""
    generator = torch.Generator(device).manual_seed(len(lengths) * 1000 + sum(lengths))
    tokens, (key_heads, value_heads), value_size = sum(lengths), heads, value_size or size

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, device=device)

    rates = torch.linspace(-4.0, 1.0, value_heads, device=device).exp()
    return Problem(
        q=functional.normalize(normal(1, tokens, key_heads, size), dim=-1).to(dtype),
        k=functional.normalize(normal(1, tokens, key_heads, size), dim=-1).to(dtype),
        v=normal(1, tokens, value_heads, value_size).to(dtype),
        g=-rates * functional.softplus(normal(1, tokens, value_heads)),
        beta=normal(1, tokens, value_heads).sigmoid(),
        cu_seqlens_cpu=torch.tensor([0, *accumulate(lengths)], dtype=torch.int32),
        initial_state=normal(len(lengths), value_heads, value_size, size) if with_state else None,
    )


def embedded(tensor: torch.Tensor, beside: int) -> torch.Tensor:
    """Return [1, T, H, size] as a slice of a wider tensor, with `beside` NaN on both sides of each token's values."""
    wide = tensor.new_full((1, tensor.shape[1], tensor[0, 0].numel() + 2 * beside), float("nan"))
    wide[..., beside:-beside] = tensor.flatten(2)
    found: torch.Tensor = wide[..., beside:-beside].unflatten(2, tensor.shape[2:])
    return found


def double(tensor: torch.Tensor | None) -> torch.Tensor | None:
    return None if tensor is None else tensor.double()


def relative_rmse(actual: torch.Tensor, truth: torch.Tensor) -> float:
    """Return RMSE(actual, truth) / RMS(truth); 0 where both are empty."""
    assert actual.shape == truth.shape
    if truth.numel() == 0:
        return 0.0
    error = (actual.double() - truth.double()).square().mean().sqrt()
    return (error / truth.double().square().mean().sqrt().clamp_min(1e-30)).item()


def assert_close(actual: torch.Tensor, truth: torch.Tensor, tolerance: float = TOLERANCE) -> None:
    assert torch.isfinite(actual).all()
    assert relative_rmse(actual, truth) <= tolerance


def poison_fresh_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `torch.empty` return NaN, or -1 for integers, so that reading memory that was never written shows."""
    plain = torch.empty

    def poisoned(*arguments: Any, **named: Any) -> torch.Tensor:
        fresh = plain(*arguments, **named)
        return fresh.fill_(float("nan") if fresh.is_floating_point() else -1)

    monkeypatch.setattr(torch, "empty", poisoned)
