"""What the virtual device cannot do is refused in a sentence, not crashed on or got wrong."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from syncwatch.sense.virtual.device import VirtualDevice

exchange: Any = torch.utils.dlpack


def test_memory_that_is_not_there_cannot_be_handed_out(device: VirtualDevice) -> None:
    x: Any = torch.ones(3, device="cuda")

    with pytest.raises(BufferError, match=r"Call \.cpu\(\) first"):
        exchange.to_dlpack(x)
    with pytest.raises(BufferError, match=r"Call \.cpu\(\) first"):
        exchange.from_dlpack(x)
    assert not hasattr(x, "__cuda_array_interface__")


def test_more_than_this_machine_holds_is_out_of_memory(device: VirtualDevice) -> None:
    with pytest.raises(torch.OutOfMemoryError, match="out of memory"):
        torch.empty(1 << 50, dtype=torch.uint8, device="cuda")


def test_what_stays_on_the_host_can_be_handed_out(device: VirtualDevice) -> None:
    assert exchange.from_dlpack(torch.ones(3)).tolist() == [1.0, 1.0, 1.0]
