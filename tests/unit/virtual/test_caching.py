"""The caching allocator of the device, held against the rules of c10/cuda/CUDACachingAllocator.cpp."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from syncwatch.model.events import SyncKind
from syncwatch.sense.recorder import Recorder
from syncwatch.sense.virtual.device import VirtualDevice
from tests.helpers.waits import allocator_calls_of, waits_of

KIB, MIB = 1 << 10, 1 << 20


def take(size: int) -> torch.Tensor:
    """Take `size` bytes."""
    return torch.empty(size, dtype=torch.uint8, device="cuda")


def figures(*names: str) -> tuple[int, ...]:
    """Return current figures of `torch.cuda.memory_stats`, of all pools."""
    stats = torch.cuda.memory_stats()
    return tuple(stats[f"{name}.all.current"] for name in names)


@pytest.mark.parametrize(
    ("size", "rounded", "segment"),
    [
        (1, 512, 2 * MIB),
        (512, 512, 2 * MIB),
        (513, 1024, 2 * MIB),
        (MIB, MIB, 2 * MIB),
        (MIB + 1, MIB + 512, 20 * MIB),
        (10 * MIB - 512, 10 * MIB - 512, 20 * MIB),
        (10 * MIB, 10 * MIB, 10 * MIB),
        (11 * MIB, 12 * MIB, 12 * MIB),  # a mebibyte is too little to be split off
        (11 * MIB - 512, 11 * MIB - 512, 12 * MIB),
        (32 * MIB, 32 * MIB, 32 * MIB),
    ],
)
def test_a_size_is_rounded_and_takes_a_segment(device: VirtualDevice, size: int, rounded: int, segment: int) -> None:
    kept = take(size)

    names = ("requested_bytes", "allocated_bytes", "active_bytes", "reserved_bytes", "segment")
    assert figures(*names) == (size, rounded, rounded, segment, 1)
    assert kept.numel() == size


def test_what_is_left_of_a_small_segment_serves_the_next(device: VirtualDevice) -> None:
    kept = [take(512 * KIB) for _ in range(4)]

    assert figures("reserved_bytes", "segment", "inactive_split") == (2 * MIB, 1, 0)
    kept.append(take(1))
    assert figures("reserved_bytes", "segment", "inactive_split_bytes") == (4 * MIB, 2, 2 * MIB - 512)


def test_of_a_large_segment_more_than_a_mebibyte_must_be_left(device: VirtualDevice) -> None:
    kept = take(19 * MIB)
    assert figures("allocated_bytes", "inactive_split_bytes") == (20 * MIB, 0)

    other = take(19 * MIB - 512)
    assert figures("allocated_bytes", "inactive_split_bytes") == (39 * MIB - 512, MIB + 512)
    assert kept.is_cuda and other.is_cuda


def test_the_smallest_piece_that_fits_is_taken(device: VirtualDevice) -> None:
    sizes = [4 * MIB, 6 * MIB, 5 * MIB, 5 * MIB]
    kept = [take(size) for size in sizes]
    assert figures("segment") == (1,)
    kept[1] = kept[2] = take(1)

    assert figures("inactive_split", "inactive_split_bytes") == (2, 11 * MIB + 2 * MIB - 512)
    again = take(11 * MIB)
    assert figures("segment", "inactive_split_bytes") == (2, 2 * MIB - 512)
    assert again.is_cuda


def test_neighbours_that_are_free_are_merged(device: VirtualDevice) -> None:
    kept: list[Any] = [take(512 * KIB) for _ in range(4)]

    kept[0] = kept[2] = None
    assert figures("inactive_split", "inactive_split_bytes") == (2, MIB)
    kept[1] = None
    assert figures("inactive_split", "inactive_split_bytes") == (1, 3 * 512 * KIB)
    kept[3] = None
    assert figures("inactive_split", "inactive_split_bytes", "reserved_bytes") == (0, 0, 2 * MIB)


def test_each_stream_has_segments_of_its_own(device: VirtualDevice, recorder: Recorder) -> None:
    kept = take(KIB)
    del kept
    with torch.cuda.stream(torch.cuda.Stream()):
        take(KIB)
        take(KIB)
    take(KIB)

    assert figures("segment", "reserved_bytes") == (2, 4 * MIB)
    assert allocator_calls_of(recorder) == ["cudaMalloc", "cudaMalloc"]


def test_a_cached_piece_is_taken_without_a_word(device: VirtualDevice, recorder: Recorder) -> None:
    x = torch.ones(1000, device="cuda")
    before = len(recorder.syncs)

    for _ in range(5):
        x = x * 2

    assert len(recorder.syncs) == before == 1


def test_the_line_that_allocates_is_told_with_its_time(device: VirtualDevice, recorder: Recorder) -> None:
    take(MIB)

    (call,) = recorder.syncs
    recording = recorder.freeze("v", coverage=None, modelled=True)  # type: ignore[arg-type]
    assert call.stack is not None and call.start_ns is not None and call.end_ns is not None
    frames = [recording.frames[each] for each in recording.stacks[call.stack]]
    assert (call.kind, call.api, call.explicit, call.op) == (SyncKind.ALLOCATION, "cudaMalloc", False, None)
    assert any(frame.file.endswith("test_caching.py") and frame.function == "take" for frame in frames)
    assert call.end_ns > call.start_ns
    assert waits_of(recorder) == []


def test_an_empty_cache_gives_back_what_is_wholly_free(device: VirtualDevice, recorder: Recorder) -> None:
    kept, free = take(512), take(20 * MIB)
    del free
    torch.cuda._sleep(10_000_000)
    begun = device.now_ns()

    torch.cuda.empty_cache()

    assert figures("segment", "reserved_bytes") == (1, 2 * MIB)
    assert allocator_calls_of(recorder) == ["cudaMalloc", "cudaMalloc", "cudaFree"]
    # `cudaFree` waits for the device, which has more than 4 ms of work left.
    assert device.now_ns() - begun > 4_000_000
    assert torch.cuda.memory_stats()["num_device_free"] == 1
    assert kept.is_cuda


def test_memory_that_another_stream_uses_is_not_given_before_it_is_done(device: VirtualDevice) -> None:
    side = torch.cuda.Stream()
    kept = take(MIB)
    with torch.cuda.stream(side):
        torch.cuda._sleep(10_000_000)
    kept.record_stream(side)
    del kept
    assert figures("allocated_bytes", "active_bytes", "active") == (0, MIB, 1)

    other = take(MIB)
    more = take(MIB)
    assert figures("segment") == (2,)

    side.synchronize()
    take(512)
    assert figures("active_bytes") == (2 * MIB,)
    assert other.is_cuda and more.is_cuda


def test_an_empty_cache_waits_for_the_events_of_other_streams(device: VirtualDevice, recorder: Recorder) -> None:
    side = torch.cuda.Stream()
    kept = take(MIB)
    kept.record_stream(side)
    del kept

    torch.cuda.empty_cache()

    assert [each.kind for each in waits_of(recorder)] == [SyncKind.EVENT]
    assert allocator_calls_of(recorder) == ["cudaMalloc", "cudaFree"]
    assert figures("reserved_bytes", "active_bytes") == (0, 0)


def test_a_use_on_the_own_stream_holds_nothing_up(device: VirtualDevice) -> None:
    kept = take(MIB)
    kept.record_stream(torch.cuda.current_stream())
    del kept

    assert figures("active_bytes") == (0,)


@pytest.fixture
def limited() -> Iterator[VirtualDevice]:
    """A device with 64 MiB of memory."""
    device = VirtualDevice(capacity=64 * MIB)
    device.start()
    yield device
    device.stop()


def test_for_want_of_memory_the_cache_is_given_back(limited: VirtualDevice) -> None:
    recorder = Recorder(now_ns=limited.now_ns)
    limited.record_into(recorder)
    free = take(40 * MIB)
    del free

    kept = take(48 * MIB)

    assert allocator_calls_of(recorder) == ["cudaMalloc", "cudaFree", "cudaMalloc"]
    assert torch.cuda.memory_stats()["num_alloc_retries"] == 1
    assert kept.is_cuda


def test_what_does_not_fit_is_refused_in_the_words_of_cuda(limited: VirtualDevice) -> None:
    kept = take(30 * MIB)

    with pytest.raises(torch.OutOfMemoryError) as raised:
        take(40 * MIB)

    assert str(raised.value).startswith(
        "CUDA out of memory. Tried to allocate 40.00 MiB. GPU 0 has a total capacity of 64.00 MiB of which 34.00 MiB "
        "is free. Of the allocated memory 30.00 MiB is allocated by PyTorch, and 0 bytes is reserved by PyTorch but "
        "unallocated."
    )
    assert torch.cuda.memory_stats()["num_ooms"] == 1
    assert kept.is_cuda


def test_a_part_of_the_memory_may_be_forbidden(limited: VirtualDevice) -> None:
    torch.cuda.set_per_process_memory_fraction(0.5)

    with pytest.raises(torch.OutOfMemoryError, match=r"32\.00 MiB allowed"):
        take(40 * MIB)
    assert torch.cuda.get_per_process_memory_fraction() == 0.5
    torch.cuda.set_per_process_memory_fraction(1.0)
    assert take(40 * MIB).is_cuda
    with pytest.raises(ValueError, match="Invalid fraction"):
        torch.cuda.set_per_process_memory_fraction(1.5)


def test_a_graph_has_a_pool_of_its_own_until_it_goes(device: VirtualDevice, recorder: Recorder) -> None:
    x = torch.ones(8, device="cuda")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = x + 1
    assert allocator_calls_of(recorder) == ["cudaMalloc", "cudaMalloc"]
    again = torch.cuda.CUDAGraph()
    with torch.cuda.graph(again, pool=graph.pool()):
        more = x + 2
    assert figures("segment") == (2,)

    del out, more, graph
    torch.cuda.empty_cache()
    assert figures("segment") == (2,)
    again.reset()
    torch.cuda.empty_cache()
    assert figures("segment") == (1,)


def test_a_product_of_matrices_takes_the_workspace_of_cublas_once_a_stream(
    device: VirtualDevice, recorder: Recorder
) -> None:
    x = torch.ones(8, 8, device="cuda")
    x @ x
    assert figures("allocated_bytes") == (512 + 32 * MIB,)
    torch.addmm(x, x, x)
    assert figures("allocated_bytes") == (512 + 32 * MIB,)

    with torch.cuda.stream(torch.cuda.Stream()):
        x @ x

    assert figures("allocated_bytes") == (512 + 64 * MIB,)
    assert allocator_calls_of(recorder) == ["cudaMalloc"] * 4


def test_autograd_has_a_workspace_of_its_own(device: VirtualDevice) -> None:
    x = torch.ones(8, 8, device="cuda", requires_grad=True)
    (x @ x).sum().backward()
    assert torch.cuda.memory_allocated() == 2 * 512 + 64 * MIB

    torch._C._cuda_clearCublasWorkspaces()
    assert torch.cuda.memory_allocated() == 2 * 512


def test_a_thread_that_ends_leaves_its_workspace_to_the_next(device: VirtualDevice) -> None:
    x = torch.ones(8, 8, device="cuda")
    x @ x
    for _ in range(3):
        thread = threading.Thread(target=lambda: x @ x)
        thread.start()
        thread.join()
        # The operating system's thread ends a little later than Python's `join` returns.
        while Path(f"/proc/self/task/{thread.native_id}").exists():
            os.sched_yield()

    assert figures("allocated_bytes") == (512 + 64 * MIB,)


def test_peaks_and_sums_begin_anew(device: VirtualDevice) -> None:
    kept = take(MIB)
    take(MIB)
    assert torch.cuda.max_memory_allocated() == 2 * MIB

    torch.cuda.reset_peak_memory_stats()
    torch.cuda.reset_accumulated_memory_stats()

    stats = torch.cuda.memory_stats()
    assert torch.cuda.max_memory_allocated() == MIB
    assert (stats["allocation.all.allocated"], stats["allocation.all.current"], stats["num_device_alloc"]) == (0, 1, 0)
    assert "reserved" in torch.cuda.memory_summary()
    assert kept.is_cuda


def test_streams_are_given_in_turn_from_pools_of_32(device: VirtualDevice) -> None:
    first = [torch.cuda.Stream() for _ in range(32)]
    high = torch.cuda.Stream(priority=-1)

    assert len({each.stream_id for each in [*first, high, torch.cuda.default_stream()]}) == 34
    assert torch.cuda.Stream() == first[0]
