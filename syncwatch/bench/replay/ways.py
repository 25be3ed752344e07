"""The ways to replay a call: how it is recorded, and how its result is given without waiting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

Original = Callable[..., Any]
Arguments = tuple[Any, ...]
Keywords = dict[str, Any]
Result = tuple[Any, Any]
"""What the call gave, and what a replay needs; None for a call that did not wait."""


@dataclass(frozen=True, slots=True)
class Way:
    """How the calls of one callable are recorded and replayed."""

    record: Callable[[Original, Arguments, Keywords], Result]
    """Runs the call."""
    replay: Callable[[Original, Arguments, Keywords, Any], Any]
    """Gives the result without waiting, from what `record` kept."""


def is_cuda(value: Any) -> bool:
    """Return whether `value` is a tensor on the GPU."""
    return isinstance(value, torch.Tensor) and value.is_cuda


def pinned(value: torch.Tensor) -> torch.Tensor:
    """Return a copy of `value` in pinned host memory."""
    return value.detach().cpu().pin_memory()


def uploaded(kept: torch.Tensor) -> torch.Tensor:
    """Return a copy of a pinned tensor on the GPU, without waiting."""
    return kept.to("cuda", non_blocking=True)
