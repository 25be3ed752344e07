"""Kernels that compute in bfloat16 give the values of a GPU, in Triton's interpreter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import triton.language as tl
from syncwatch_kernels.gdn.launch import kernel

import syncwatch


@kernel()
def arithmetic_kernel(a: tl.tensor, b: tl.tensor, out: tl.tensor, size: tl.constexpr) -> None:
    at = tl.arange(0, size)
    x = tl.load(a + at, mask=at < size - 1, other=1.0)
    y = tl.load(b + at)
    tl.store(out + at, x + y)
    tl.store(out + size + at, x * y - x)
    tl.store(out + 2 * size + at, tl.where(x > y, x, y))
    tl.store(out + 3 * size + at, tl.abs(x))
    tl.store(out + 4 * size + at, tl.exp(x.to(tl.float32)).to(tl.bfloat16))
    tl.store(out + 5 * size + at, x.to(tl.int16, bitcast=True).to(tl.bfloat16, bitcast=True))


@kernel()
def loop_kernel(a: tl.tensor, b: tl.tensor, out: tl.tensor, count: tl.tensor, size: tl.constexpr) -> None:
    at = tl.arange(0, size)
    block = at[:, None] * size + at[None, :]
    total = tl.zeros((size, size), tl.float32)
    for _ in range(0, tl.load(count)):
        total += tl.dot(tl.load(a + block), tl.load(b + block))
    tl.store(out + block, total.to(tl.bfloat16))


def on_the_device(work: Callable[[], Any]) -> Any:
    with syncwatch.watch(device="virtual"):
        return work()


def test_arithmetic_is_rounded_as_on_a_gpu() -> None:
    def work() -> list[tuple[torch.Tensor, torch.Tensor]]:
        x, y = (torch.randn(64, device="cuda").bfloat16() for _ in range(2))
        out = torch.empty(6, 64, dtype=torch.bfloat16, device="cuda")
        arithmetic_kernel[(1,)](x, y, out, 64)
        x[-1] = 1
        wanted = [x + y, x * y - x, torch.maximum(x, y), x.abs(), x.float().exp().bfloat16(), x]
        return [(mine.cpu(), theirs.cpu()) for mine, theirs in zip(out, wanted, strict=True)]

    for number, (mine, theirs) in enumerate(on_the_device(work)):
        assert torch.equal(mine, theirs), number


@pytest.mark.parametrize("rounds", [0, 2])
def test_a_product_in_a_loop_whose_bound_was_loaded(rounds: int) -> None:
    def work() -> tuple[torch.Tensor, torch.Tensor]:
        x, y = (torch.randn(16, 16, device="cuda").bfloat16() for _ in range(2))
        out = torch.full((16, 16), float("nan"), dtype=torch.bfloat16, device="cuda")
        loop_kernel[(1,)](x, y, out, torch.tensor([rounds], device="cuda"), 16)
        return out.cpu(), (rounds * (x.float() @ y.float())).bfloat16().cpu()

    mine, theirs = on_the_device(work)
    torch.testing.assert_close(mine, theirs, rtol=1e-2, atol=1e-2)
