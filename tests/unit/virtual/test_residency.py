from __future__ import annotations

import gc
import weakref

import pytest
import torch

from syncwatch.sense.virtual.residency import Memory, is_pinned, is_resident, mark_pinned, mark_resident, unmark

PLENTY = 1 << 30


def test_views_and_detached_tensors_share_the_mark() -> None:
    memory = Memory(PLENTY)
    tensor = torch.zeros(8, requires_grad=True)

    mark_resident(tensor, memory)

    assert all(is_resident(each) for each in (tensor, tensor[2:], tensor.view(2, 4), tensor.detach(), tensor.data))
    assert not is_resident(tensor.clone())


def test_the_mark_outlives_the_python_tensor_that_set_it() -> None:
    tensor = torch.zeros(8)
    view = tensor[1:]
    mark_resident(tensor, Memory(PLENTY))

    del tensor
    gc.collect()

    assert is_resident(view)


def test_a_marked_storage_is_freed_with_its_last_tensor() -> None:
    memory = Memory(PLENTY)
    tensor = torch.zeros(1024)
    mark_resident(tensor, memory)
    alive = weakref.ref(tensor)
    assert memory.allocated == 4096

    del tensor
    gc.collect()

    assert alive() is None
    assert memory.allocated == 0


def test_memory_is_counted_once_a_storage_in_blocks_of_512() -> None:
    memory = Memory(PLENTY)
    tensor = torch.zeros(3)

    mark_resident(tensor, memory)
    mark_resident(tensor[1:], memory)

    assert (memory.allocated, memory.allocations) == (512, 1)


def test_peak_and_reserved_memory_stay_when_tensors_go() -> None:
    memory = Memory(PLENTY)
    tensor = torch.zeros(1 << 20)
    mark_resident(tensor, memory)

    del tensor

    assert (memory.allocated, memory.peak, memory.reserved) == (0, 4 << 20, 4 << 20)
    memory.empty_cache()
    assert memory.reserved == 0


def test_what_does_not_fit_is_refused_and_not_counted() -> None:
    memory = Memory(1024)

    with pytest.raises(torch.OutOfMemoryError, match="CUDA out of memory"):
        mark_resident(torch.zeros(1024), memory)

    assert memory.allocated == 0


def test_unmarked_storages_are_host_memory_again() -> None:
    memory = Memory(PLENTY)
    tensor = torch.zeros(8)
    mark_resident(tensor, memory)

    unmark(tensor)

    assert not is_resident(tensor)
    assert memory.allocated == 0


def test_pinned_memory_is_on_the_host() -> None:
    tensor = torch.zeros(8)

    mark_pinned(tensor)

    assert is_pinned(tensor[1:])
    assert not is_resident(tensor)


def test_sparse_tensors_carry_the_mark_themselves() -> None:
    tensor = torch.eye(4).to_sparse()

    mark_resident(tensor, Memory(PLENTY))

    assert is_resident(tensor)
