"""A process that was forked after the device was used is refused, as CUDA refuses it, and nothing hangs."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset

from syncwatch.sense.virtual.device import VirtualDevice

pytestmark = pytest.mark.usefixtures("device")

REFUSED = "Cannot re-initialize CUDA in forked subprocess"


def said_by_a_child(act: Callable[[], object]) -> str:
    """Return what `act` gave in a forked process, or what it raised."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            said = repr(act())
        except BaseException:
            said = traceback.format_exc()
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


def ways(x: torch.Tensor) -> dict[str, Callable[[], object]]:
    cuda: Any = torch.cuda
    return {
        "ones": lambda: torch.ones(3, device="cuda"),
        "empty": lambda: torch.empty(3, device="cuda"),
        "to": lambda: torch.ones(3).to("cuda"),
        "an operator": lambda: x + 1,
        "a read": lambda: x.tolist(),
        "synchronize": lambda: torch.cuda.synchronize(),
        "init": lambda: cuda.init(),
        "_lazy_init": lambda: cuda._lazy_init(),
    }


@pytest.mark.parametrize("name", ways(torch.ones(1)))
def test_a_forked_process_cannot_use_the_device_again(name: str) -> None:
    x = torch.ones(3, device="cuda")

    assert REFUSED in said_by_a_child(ways(x)[name])
    assert x.tolist() == [1.0] * 3


def test_a_forked_process_works_on_the_host_as_ever() -> None:
    torch.ones(3, device="cuda")

    assert said_by_a_child(lambda: (torch.ones(2) + torch.empty(2).fill_(1)).tolist()) == "[2.0, 2.0]"
    assert said_by_a_child(lambda: torch.manual_seed(1).initial_seed()) == "1"
    assert said_by_a_child(lambda: torch.cuda.is_initialized()) == "False"
    assert torch.cuda.is_initialized()


def test_a_process_that_was_forked_before_the_device_was_used_may_use_it() -> None:
    assert said_by_a_child(lambda: torch.ones(3, device="cuda").sum().item()) == "3.0"


class Counted(IterableDataset[torch.Tensor]):
    """Two tensors on the default device."""

    def __iter__(self) -> Iterator[torch.Tensor]:
        return iter([torch.ones(3), torch.empty(3)])


def test_workers_that_make_tensors_of_the_device_end_the_loader(device: VirtualDevice) -> None:
    torch.set_default_device("cuda")
    try:
        generator = torch.Generator("cuda")
        loader = DataLoader(Counted(), num_workers=1, generator=generator, multiprocessing_context="fork")
        with pytest.raises(RuntimeError, match=REFUSED):
            list(loader)
    finally:
        torch.set_default_device(None)
