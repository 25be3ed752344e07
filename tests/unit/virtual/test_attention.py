"""Attention on the virtual device gives the results and gradients of the CPU."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

pytestmark = [pytest.mark.usefixtures("device"), pytest.mark.filterwarnings("ignore")]


def _of_jagged(place: str, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    rows = [torch.linspace(-1, 1, 32).view(2, 16).to(dtype), torch.linspace(-2, 1, 48).view(3, 16).to(dtype)]
    nested = torch.nested.nested_tensor(rows, layout=torch.jagged, device=place, requires_grad=True)
    heads = nested.unflatten(-1, [2, 8]).transpose(1, 2)
    out = functional.scaled_dot_product_attention(heads, heads.sin(), heads.cos()).transpose(1, 2)
    out.values().float().pow(2).sum().backward()
    assert nested.grad is not None
    return out.values().float().detach().cpu(), nested.grad.values().float().cpu()


@pytest.mark.parametrize(("dtype", "within"), [(torch.float32, 1e-5), (torch.bfloat16, 5e-2)])
def test_sequences_of_different_lengths_forward_and_backward(dtype: torch.dtype, within: float) -> None:
    for here, there in zip(_of_jagged("cuda", dtype), _of_jagged("cpu", torch.float32), strict=True):
        torch.testing.assert_close(here, there, atol=within, rtol=within)


@pytest.mark.parametrize("mask", [0, 1])
def test_the_memory_efficient_kernel_forward_and_backward(mask: int) -> None:
    found = []
    for place in ("cuda", "cpu"):
        query = torch.linspace(-1, 1, 64).view(1, 4, 2, 8).to(place).requires_grad_()
        if place == "cuda":
            options = (None, None, None, None, None, 0.0, mask, True)
            out = torch.ops.aten._efficient_attention_forward(query, query.sin(), query.cos(), *options)[0]
        else:
            turned = query.transpose(1, 2)
            out = functional.scaled_dot_product_attention(turned, turned.sin(), turned.cos(), is_causal=bool(mask))
            out = out.transpose(1, 2)
        out.pow(2).sum().backward()
        assert query.grad is not None
        found.append((out.detach().cpu(), query.grad.cpu()))

    torch.testing.assert_close(*found)
