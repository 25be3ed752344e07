"""Finds the device that an argument names: `"cuda"`, `0`, `torch.device("cuda:0")`, or another."""

from __future__ import annotations

from enum import Enum
from typing import Any, Final

import torch

CUDA: Final = torch.device("cuda", 0)
CPU: Final = torch.device("cpu")


class Place(Enum):
    """Where a tensor is wanted."""

    DEVICE = "device"
    HOST = "host"
    ELSEWHERE = "elsewhere"
    """`meta` and the like: none of our business."""


def place_named(device: Any) -> Place:
    """Return the place that a device argument names.

    Raises:
        torch.AcceleratorError: for a second GPU; there is one.
    """
    if isinstance(device, int) and not isinstance(device, bool):
        device = torch.device("cuda", device)
    elif not isinstance(device, torch.device):
        device = torch.device(device)
    if device.type == "cuda":
        if device.index not in (None, 0):
            raise torch.AcceleratorError("CUDA error: invalid device ordinal")
        return Place.DEVICE
    return Place.HOST if device.type == "cpu" else Place.ELSEWHERE
