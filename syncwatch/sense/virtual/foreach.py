"""Answers: how do optimizers see which tensors lie together? By the device that the tensors say they are on."""

from __future__ import annotations

from typing import Any

import torch

from syncwatch.sense.virtual.patching import Patches
from syncwatch.sense.virtual.places import CUDA
from syncwatch.sense.virtual.residency import is_resident

_Lists = list[list["torch.Tensor | None"]]


def patch(patches: Patches) -> None:
    """Correct torch's grouping of tensors by device and type, which is made in C++ and sees CPU tensors only."""
    patches.set(torch._C, "_group_tensors_by_device_and_dtype", _corrected(torch._C._group_tensors_by_device_and_dtype))


def _corrected(plain: Any) -> Any:
    def group(tensorlistlist: _Lists, with_indices: bool = False) -> dict[Any, tuple[_Lists, list[int]]]:
        groups: dict[Any, tuple[_Lists, list[int]]] = {}
        for (device, dtype), (lists, indices) in plain(tensorlistlist, with_indices).items():
            for resident in (True, False):
                chosen = [
                    n for n, tensor in enumerate(lists[0]) if tensor is not None and is_resident(tensor) == resident
                ]
                if chosen:
                    key = (CUDA if resident else device, dtype)
                    groups[key] = (
                        [[each[n] for n in chosen] if each else [] for each in lists],
                        [indices[n] for n in chosen] if with_indices else [],
                    )
        return groups

    return group
