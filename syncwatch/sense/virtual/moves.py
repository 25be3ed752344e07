"""Answers: how does a tensor get from host to device and back? Copies that autograd follows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from syncwatch.sense.copying import CopyPlan, Side, plan_copy
from syncwatch.sense.virtual import op_names
from syncwatch.sense.virtual.engine import Engine
from syncwatch.sense.virtual.quiet import quiet
from syncwatch.sense.virtual.residency import is_pinned, is_resident, mark_pinned, mark_resident
from syncwatch.sense.virtual.runtime_calls import RuntimeCall


@dataclass(frozen=True, slots=True)
class Move:
    """One crossing between host and device."""

    engine: Engine
    to_device: bool
    dtype: torch.dtype | None = None
    non_blocking: bool = False
    memory_format: torch.memory_format = torch.preserve_format
    op: str = op_names.MOVE

    def apply(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return a copy of `tensor` on the other side; gradients come back the other way."""
        if tensor.requires_grad and torch.is_grad_enabled():
            with quiet():
                moved: torch.Tensor = _Crossing.apply(tensor, self)  # type: ignore[no-untyped-call]  # torch's own
            return moved
        return self.copy(tensor)

    def copy(self, tensor: torch.Tensor) -> torch.Tensor:
        """Copy without autograd, and record it."""
        with quiet(), torch.no_grad():
            out = tensor.to(dtype=self.dtype or tensor.dtype, copy=True, memory_format=self.memory_format)
            pinned = not self.to_device and self.non_blocking
            plan = crossing(tensor, out, on_device=self.to_device, pinned=pinned, non_blocking=self.non_blocking)
            if self.to_device:
                mark_resident(out, self.engine.memory)
            elif pinned:
                mark_pinned(out)
        if plan is not None:
            state = self.engine.state()
            self.engine.run(state, RuntimeCall(plan.direction, plan.memory, plan.size, plan.wait), self.op)
        return out

    def back(self, dtype: torch.dtype) -> Move:
        """Return the move of a gradient."""
        return Move(self.engine, not self.to_device, dtype)


class _Crossing(torch.autograd.Function):
    """Copies forth in forward and back in backward, as `ToCopyBackward` does."""

    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor, move: Move) -> torch.Tensor:
        ctx.move = move.back(tensor.dtype)
        return move.copy(tensor.detach())

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (grad,) = grads
        move: Move = ctx.move
        # A gradient that autograd made up by itself may already be where it is wanted.
        return (grad if is_resident(grad) == move.to_device else move.apply(grad)), None


def crossing(
    source: torch.Tensor, target: torch.Tensor, *, on_device: bool, pinned: bool, non_blocking: bool
) -> CopyPlan | None:
    """Return what copying `source` to `target` does, or None where nothing crosses between host and device.

    Args:
        source: what is copied.
        target: where to; it may not be marked yet.
        on_device: whether `target` is to be on the device.
        pinned: whether `target` is to be in pinned memory.
        non_blocking: what the caller asked for.
    """
    aligned = _same_layout(source, target)
    # Measured on an H200: a non-blocking copy converts types on the device, so the host side needs no temporary.
    converts = source.dtype != target.dtype and not non_blocking
    crosses_as = source if on_device and non_blocking else target
    return plan_copy(
        Side(is_resident(source), is_pinned(source), aligned or _contiguous(source), source.element_size()),
        Side(on_device, pinned, aligned or _contiguous(target), crosses_as.element_size()),
        target.numel(),
        converts=converts,
        non_blocking=non_blocking,
    )


def _contiguous(tensor: torch.Tensor) -> bool:
    return tensor.layout is not torch.strided or tensor.is_contiguous()


def _same_layout(first: torch.Tensor, second: torch.Tensor) -> bool:
    """Return whether both fill one range of memory in the same order, so that one `memcpy` does it."""
    if first.shape != second.shape:
        return False
    if _contiguous(first) and _contiguous(second):
        return True
    expected = 1
    sizes = zip(first.stride(), second.stride(), first.shape, strict=True)
    for stride, other, size in sorted(each for each in sizes if each[2] != 1):
        if stride != expected or other != expected:
            return False
        expected *= size
    return True


def to_place(
    engine: Engine,
    tensor: torch.Tensor,
    *,
    to_device: bool,
    dtype: torch.dtype | None,
    non_blocking: bool = False,
    copy: bool = False,
    memory_format: torch.memory_format = torch.preserve_format,
) -> torch.Tensor:
    """Return `tensor` on the wanted side in the wanted type: itself if it is there, a copy otherwise."""
    if is_resident(tensor) != to_device:
        return Move(engine, to_device, dtype, non_blocking, memory_format).apply(tensor)
    return tensor.to(dtype=dtype or tensor.dtype, copy=copy, memory_format=memory_format)
