"""The memory of the device: counted as CUDA's allocator counts it, limited, and freed with its last tensor."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest
import torch

from syncwatch.sense.virtual.device import VirtualDevice

MIB = 1 << 20
SMALL = 20 * MIB
"""What one segment of the large pool takes."""


@pytest.fixture
def small() -> Iterator[VirtualDevice]:
    """A device with 20 MiB of memory."""
    device = VirtualDevice(capacity=SMALL)
    device.start()
    yield device
    device.stop()


def test_views_and_detached_tensors_are_on_the_device_and_share_its_memory(device: VirtualDevice) -> None:
    tensor = torch.zeros(8, device="cuda", requires_grad=True)
    before = torch.cuda.memory_allocated()

    views = (tensor[2:], tensor.view(2, 4), tensor.detach(), tensor.data, tensor.as_strided((2,), (1,)))

    assert all(each.is_cuda for each in views)
    assert {each.untyped_storage().data_ptr() for each in views} == {tensor.untyped_storage().data_ptr()}
    assert torch.cuda.memory_allocated() == before


def test_memory_outlives_the_tensor_that_took_it_while_a_view_is_there(device: VirtualDevice) -> None:
    tensor = torch.full((8,), 3.0, device="cuda")
    view = tensor[1:]

    del tensor
    gc.collect()

    assert view.tolist() == [3.0] * 7
    assert torch.cuda.memory_allocated() == 512
    del view
    assert torch.cuda.memory_allocated() == 0


def test_memory_is_freed_with_its_last_tensor(device: VirtualDevice) -> None:
    tensor = torch.zeros(1024, device="cuda")
    alive = weakref.ref(tensor)
    assert torch.cuda.memory_allocated() == 4096

    del tensor

    assert alive() is None
    assert torch.cuda.memory_allocated() == 0


def test_memory_is_counted_once_a_storage_in_blocks_of_512(device: VirtualDevice) -> None:
    tensor = torch.zeros(3, device="cuda")
    views = tensor[1:], tensor[:0]

    memory = device.engine.memory
    assert (memory.allocated, memory.allocations) == (512, 1)
    assert all(view.is_cuda for view in views)


def test_a_tensor_of_nothing_takes_nothing(device: VirtualDevice) -> None:
    tensor = torch.empty(0, 4, device="cuda")

    assert tensor.is_cuda
    assert (torch.cuda.memory_allocated(), device.engine.memory.allocations) == (0, 0)


def test_peak_and_reserved_memory_stay_when_tensors_go(device: VirtualDevice) -> None:
    tensor = torch.zeros(1 << 20, device="cuda")

    del tensor

    assert (torch.cuda.memory_allocated(), torch.cuda.max_memory_allocated()) == (0, 4 << 20)
    assert (torch.cuda.memory_reserved(), torch.cuda.max_memory_reserved()) == (20 << 20, 20 << 20)
    torch.cuda.empty_cache()
    assert torch.cuda.memory_reserved() == 0
    torch.cuda.reset_peak_memory_stats()
    assert (torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()) == (0, 0)


def test_what_does_not_fit_is_refused_and_not_counted(small: VirtualDevice) -> None:
    kept = torch.zeros(8 * MIB, dtype=torch.uint8, device="cuda")

    # CUDA names what its allocator asked the driver for, not what was asked of the allocator.
    with pytest.raises(torch.OutOfMemoryError, match=r"Tried to allocate 14\.00 MiB.*of which 0 bytes is free"):
        torch.zeros(13 * MIB, dtype=torch.uint8, device="cuda")

    assert torch.cuda.memory_allocated() == 8 * MIB
    assert torch.zeros(8 * MIB, dtype=torch.uint8, device="cuda").is_cuda
    assert kept.is_cuda


def test_a_result_of_an_operator_counts_against_the_limit(small: VirtualDevice) -> None:
    kept = torch.zeros(12 * MIB // 4, device="cuda")

    with pytest.raises(torch.OutOfMemoryError, match="CUDA out of memory"):
        kept + 1

    assert torch.cuda.memory_allocated() == 12 * MIB


def test_a_program_goes_on_after_it_made_room(small: VirtualDevice) -> None:
    kept = [torch.zeros(8 * MIB, dtype=torch.uint8, device="cuda")]
    with pytest.raises(torch.OutOfMemoryError):
        torch.zeros(16 * MIB, dtype=torch.uint8, device="cuda")

    kept.clear()

    assert torch.zeros(16 * MIB, dtype=torch.uint8, device="cuda").is_cuda
    assert torch.cuda.memory_reserved() == 20 * MIB


def test_what_an_operator_makes_is_counted(device: VirtualDevice) -> None:
    x = torch.zeros(1024, device="cuda")

    y = x.exp()

    assert torch.cuda.memory_allocated() == 8192
    del y
    assert torch.cuda.memory_allocated() == 4096


def test_a_storage_that_grows_is_counted_at_its_new_size(device: VirtualDevice) -> None:
    x = torch.zeros(128, device="cuda")

    x.resize_(1024)

    assert torch.cuda.memory_allocated() == 4096


def test_a_tensor_that_takes_another_memory_gives_its_own_back(device: VirtualDevice) -> None:
    x, y = torch.zeros(128, device="cuda"), torch.ones(1024, device="cuda")

    x.set_(y.untyped_storage(), 0, y.size(), y.stride())

    assert torch.cuda.memory_allocated() == 4096
    assert x.data_ptr() == y.data_ptr()


def test_a_gradient_is_counted(device: VirtualDevice) -> None:
    weight = torch.zeros(1024, device="cuda", requires_grad=True)
    before = torch.cuda.memory_allocated()

    weight.sum().backward()

    assert torch.cuda.memory_allocated() - before == 4096
    weight.grad = None
    assert torch.cuda.memory_allocated() == before


def test_sparse_tensors_are_counted_by_their_indices_and_values(device: VirtualDevice) -> None:
    tensor = torch.eye(4).to_sparse().cuda()

    assert tensor.is_cuda and tensor.indices().is_cuda and tensor.values().is_cuda
    assert torch.cuda.memory_allocated() == 1024


def test_pinned_memory_is_on_the_host(device: VirtualDevice) -> None:
    tensor = torch.arange(8.0).pin_memory()

    assert tensor.is_pinned() and tensor[1:].is_pinned() and tensor.view(2, 4).is_pinned()
    assert not tensor.is_cuda
    assert not tensor.clone().is_pinned()
    assert tensor.tolist() == list(range(8))
    assert torch.cuda.memory_allocated() == 0
    assert torch.empty(4, pin_memory=True).is_pinned()
    assert torch.tensor([1.0], pin_memory=True).is_pinned()


def test_a_tensor_of_the_device_cannot_be_pinned(device: VirtualDevice) -> None:
    with pytest.raises(RuntimeError, match="can be pinned"):
        torch.zeros(8, device="cuda").pin_memory()
    with pytest.raises(RuntimeError, match="can be pinned"):
        torch.zeros(8, device="cuda", pin_memory=True)


def test_memory_that_was_pinned_is_ordinary_once_it_was_freed(device: VirtualDevice) -> None:
    for _ in range(100):
        torch.empty(64, pin_memory=True)

    assert not torch.empty(64).is_pinned()


def test_a_device_counts_from_zero_and_not_what_an_earlier_one_left() -> None:
    device = VirtualDevice()
    device.start()
    left = torch.zeros(1 << 18, device="cuda")
    device.stop()

    device.start()
    try:
        assert (torch.cuda.memory_allocated(), torch.cuda.max_memory_allocated()) == (0, 0)
        fresh = torch.zeros(1024, device="cuda")
        del left
        assert torch.cuda.memory_allocated() == 4096
        del fresh
        assert torch.cuda.memory_allocated() == 0
    finally:
        device.stop()


def test_a_tensor_may_be_freed_when_the_device_is_off() -> None:
    device = VirtualDevice()
    device.start()
    left = torch.zeros(1024, device="cuda")
    device.stop()

    del left
    gc.collect()

    device.start()
    counted = torch.cuda.memory_allocated()
    device.stop()
    assert counted == 0
