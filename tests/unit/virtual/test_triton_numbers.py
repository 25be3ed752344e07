"""Kernels that compute in bfloat16 give the values of a GPU, in Triton's interpreter."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest
import torch
import triton
import triton.language as tl
from syncwatch_kernels.gdn.numerics import kernel
from triton.runtime import interpreter

import syncwatch
from syncwatch.errors import NotMeasuredError


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


@kernel()
def constant_kernel(a: tl.tensor, total: tl.tensor, out: tl.tensor, size: tl.constexpr) -> None:
    at = tl.arange(0, size)
    x = tl.load(a + at)
    tl.atomic_add(total + at * 0, x)
    tl.store(out + at, tl.full((size,), 1.3, tl.bfloat16) * x)


def test_constants_and_atomics_are_bfloat16_too() -> None:
    def work() -> tuple[list[float], torch.Tensor, torch.Tensor]:
        x = torch.arange(16, device="cuda").bfloat16()
        # The word beside the sum: an atomic that wrote four bytes would write into it.
        total, out = torch.zeros(2, dtype=torch.bfloat16, device="cuda"), torch.empty_like(x)
        constant_kernel[(1,)](x, total, out, 16)
        return total.tolist(), out.cpu(), (x * torch.full_like(x, 1.3)).cpu()

    total, mine, theirs = on_the_device(work)
    assert total == [120.0, 0.0]
    assert torch.equal(mine, theirs)


@kernel()
def guarded_kernel(a: tl.tensor, count: tl.tensor, out: tl.tensor, size: tl.constexpr) -> None:
    at = tl.arange(0, size)
    wanted = tl.load(count)
    tl.store(out + at, tl.load(a + at, mask=wanted > 1, other=-1.0), mask=wanted < 5)


@pytest.mark.parametrize(("count", "expected"), [(0, -1.0), (3, 1.0), (7, 0.0)])
def test_a_scalar_comparison_is_a_mask(count: int, expected: float) -> None:
    def work() -> list[float]:
        out = torch.zeros(8, device="cuda")
        guarded_kernel[(1,)](torch.ones(8, device="cuda"), torch.tensor([count], device="cuda"), out, 8)
        values: list[float] = out.tolist()
        return values

    assert on_the_device(work) == [expected] * 8


def test_arguments_stay_on_the_device_when_python_collects_garbage() -> None:
    def work() -> list[bool]:
        kept = torch.zeros(8, device="cuda")
        for _ in range(3):
            guarded_kernel[(1,)](torch.ones(8, device="cuda"), torch.tensor([3], device="cuda"), kept, 8)
            gc.collect()
        return [kept.is_cuda]

    assert on_the_device(work) == [True]


def test_an_autotuner_takes_its_first_configuration_and_says_so() -> None:
    def work() -> float:
        tuned: Any = triton.autotune([triton.Config({"size": 8}), triton.Config({"size": 16})], key=[])(guarded_kernel)
        out = torch.zeros(16, device="cuda")
        tuned[(1,)](torch.ones(16, device="cuda"), torch.tensor([3], device="cuda"), out)
        return float(out.sum())

    with syncwatch.watch(device="virtual") as watch:
        assert work() == 8.0
    assert any("autotuner took the first configuration" in note for note in watch.report.variants[0].notes)


def test_a_triton_without_the_names_that_are_mended_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(interpreter, "_get_np_dtype")

    def work() -> None:
        out = torch.zeros(8, device="cuda")
        guarded_kernel[(1,)](out, torch.tensor([3], device="cuda"), out, 8)

    with pytest.raises(NotMeasuredError, match=r"cannot run Triton kernels: bfloat16 would be wrong .* with torch "):
        on_the_device(work)


def test_a_program_without_kernels_runs_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(interpreter, "_get_np_dtype")

    assert on_the_device(lambda: torch.ones(3, device="cuda").sum().item()) == 3.0


def test_a_triton_that_launches_by_other_names_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(interpreter, "GridExecutor")

    with pytest.raises(NotMeasuredError, match="cannot run Triton kernels"):
        on_the_device(lambda: None)
