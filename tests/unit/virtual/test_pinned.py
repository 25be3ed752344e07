"""Page-locked memory of the host, held against the rules of ATen/core/CachingHostAllocator.h."""

from __future__ import annotations

import torch

from syncwatch.sense.recorder import Recorder
from syncwatch.sense.virtual.device import VirtualDevice
from tests.helpers.waits import allocator_calls_of

MIB = 1 << 20


def pinned(size: int) -> torch.Tensor:
    """Take `size` bytes."""
    return torch.empty(size, dtype=torch.uint8, pin_memory=True)


def test_a_block_is_a_power_of_two_and_used_again(device: VirtualDevice, recorder: Recorder) -> None:
    first = pinned(5000)
    where = first.data_ptr()
    del first

    assert pinned(8192).data_ptr() == where
    assert pinned(4097).data_ptr() == where
    assert torch.cuda.host_memory_stats()["allocated_bytes.current"] == 8192
    pinned(4096)
    assert allocator_calls_of(recorder) == ["cudaHostAlloc", "cudaHostAlloc"]


def test_a_block_that_a_copy_still_reads_is_not_given_again(device: VirtualDevice, recorder: Recorder) -> None:
    target = torch.empty(64 * MIB, dtype=torch.uint8, device="cuda")
    source = pinned(64 * MIB)
    where = source.data_ptr()
    target.copy_(source, non_blocking=True)
    del source

    other = pinned(64 * MIB)
    assert other.data_ptr() != where
    del other
    torch.cuda.synchronize()
    found = {pinned(64 * MIB).data_ptr() for _ in range(2)}
    kept = [pinned(64 * MIB) for _ in range(2)]
    assert where in {each.data_ptr() for each in kept} | found
    assert allocator_calls_of(recorder) == ["cudaMalloc", "cudaHostAlloc", "cudaHostAlloc"]


def test_a_read_goes_through_a_block_that_is_kept(device: VirtualDevice, recorder: Recorder) -> None:
    x = torch.ones(3, device="cuda")
    x[0].item()
    x[1].item()

    assert allocator_calls_of(recorder) == ["cudaMalloc", "cudaHostAlloc"]


def test_the_cache_of_the_host_can_be_emptied(device: VirtualDevice, recorder: Recorder) -> None:
    pinned(100)
    kept = pinned(1000)

    torch._C._host_emptyCache()

    assert allocator_calls_of(recorder) == ["cudaHostAlloc", "cudaHostAlloc", "cudaFreeHost"]
    stats = torch.cuda.host_memory_stats()
    assert (stats["allocations.current"], stats["num_host_free"]) == (1, 1)
    assert kept.is_pinned()


def test_memory_of_an_earlier_device_is_freed_and_not_counted() -> None:
    device = VirtualDevice()
    device.start()
    kept = pinned(1000)
    device.stop()
    device.start()
    try:
        assert torch.cuda.host_memory_stats()["allocations.current"] == 0
        assert kept.fill_(3).tolist() == [3] * 1000
        del kept
        assert torch.cuda.host_memory_stats()["allocations.current"] == 0
    finally:
        device.stop()
