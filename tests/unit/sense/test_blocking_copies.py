"""The wrappers of copies that hold the host change nothing of what a program may call."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from syncwatch.sense.cuda.blocking_copies import BlockingCopies
from syncwatch.sense.recorder import Recorder


@pytest.fixture(autouse=True)
def wrapped() -> Iterator[None]:
    sensor = BlockingCopies()
    sensor.start(Recorder(now_ns=lambda: 0))
    try:
        yield
    finally:
        sensor.stop()


def test_arguments_of_every_name_reach_torch() -> None:
    numbers: Any = torch.ones(3)
    others = torch.zeros(2, dtype=torch.float64)

    assert numbers.to(tensor=others).dtype == torch.float64
    assert numbers.copy_(other=torch.full((3,), 7.0)).tolist() == [7.0, 7.0, 7.0]


def test_methods_come_back_as_they_were() -> None:
    during = torch.Tensor.to
    sensor = BlockingCopies()
    sensor.start(Recorder(now_ns=lambda: 0))
    sensor.stop()

    assert torch.Tensor.to is during
