"""Replays indexing without waiting: masks with their recorded count, host data from pinned memory, bounds."""

from __future__ import annotations

from typing import Any

import torch


def parts_of(tensor: torch.Tensor, index: Any) -> tuple[Any, ...] | None:
    """Return what a replay of `tensor[index]` needs, a part each; None where the index does not make the host wait."""
    if not tensor.is_cuda:
        return None
    found = tuple(_part_of(part) for part in _parts(index))
    return found if any(part is not None for part in found) else None


def replayed_index(index: Any, known: tuple[Any, ...]) -> Any:
    """Return an index that gives the same without waiting."""
    result: list[Any] = []
    for part, value in zip(_parts(index), known, strict=True):
        if value is None:
            result.append(part)
        elif _is_mask(part):
            result += torch.nonzero_static(part, size=value).unbind(1)
        elif isinstance(value, torch.Tensor):
            result.append(value.to("cuda", non_blocking=True))
        else:
            result.append(value)
    return tuple(result) if len(result) != 1 or isinstance(index, tuple) else result[0]


def _parts(index: Any) -> tuple[Any, ...]:
    return index if isinstance(index, tuple) else (index,)


def _part_of(part: Any) -> Any:
    if _is_mask(part):
        return int(part.sum())
    if isinstance(part, torch.Tensor):
        if part.is_cuda:
            return int(part) if part.dim() == 0 and not part.is_floating_point() else None
        return part.pin_memory() if part.dim() else None
    if isinstance(part, list):
        return torch.tensor(part).pin_memory()
    if isinstance(part, slice) and any(_is_scalar(bound) for bound in (part.start, part.stop, part.step)):
        return slice(*(int(bound) if _is_scalar(bound) else bound for bound in (part.start, part.stop, part.step)))
    return None


def _is_mask(part: Any) -> bool:
    return isinstance(part, torch.Tensor) and part.is_cuda and part.dtype in (torch.bool, torch.uint8)


def _is_scalar(bound: Any) -> bool:
    return isinstance(bound, torch.Tensor) and bound.is_cuda
