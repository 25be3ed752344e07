"""The names of waiting calls, as the runtime, the driver, nsys and torch.profiler write them."""

from __future__ import annotations

import pytest

from syncwatch.model.events import Direction, HostMemory, SyncKind
from syncwatch.model.runtime import STAGED_BYTES, call_name, copy_of, holds, is_blocking_copy, wait_of


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        ("cudaStreamSynchronize_v3020", SyncKind.STREAM),
        ("cudaStreamSynchronize_ptsz_v7000", SyncKind.STREAM),
        ("cuStreamSynchronize_ptsz", SyncKind.STREAM),
        ("cudaDeviceSynchronize", SyncKind.DEVICE),
        ("cuCtxSynchronize", SyncKind.DEVICE),
        ("cuEventSynchronize", SyncKind.EVENT),
        ("cudaMalloc_v3020", SyncKind.ALLOCATION),
        ("cuMemAlloc_v2", SyncKind.ALLOCATION),
        ("cudaMallocAsync_v11020", None),
        ("cudaStreamWaitEvent_v3020", None),
        ("cudaMemcpy_v3020", None),
    ],
)
def test_wait_of(call: str, kind: SyncKind | None) -> None:
    assert wait_of(call) is kind


def test_only_the_cuda_version_is_cut_from_a_name() -> None:
    assert call_name("cudaMemcpyAsync_ptsz_v7000") == "cudaMemcpyAsync_ptsz"
    assert call_name("cuMemcpyDtoH_v2") == "cuMemcpyDtoH_v2"


@pytest.mark.parametrize("call", ["cudaMemcpy", "cudaMemcpy2D_ptds_v7000", "cuMemcpyDtoH_v2", "cudaMemcpyFromSymbol"])
def test_copies_without_a_stream_hold_the_host(call: str) -> None:
    assert is_blocking_copy(call)
    assert holds(call, Direction.H2D, HostMemory.PINNED, 4)
    assert not holds(call, Direction.D2D, None, 4)


@pytest.mark.parametrize("call", ["cudaMemcpyAsync_v3020", "cuMemcpyDtoHAsync_v2_ptsz", "cudaMemcpy2DAsync"])
def test_copies_on_a_stream_hold_the_host_for_pageable_memory(call: str) -> None:
    assert not is_blocking_copy(call)
    assert holds(call, Direction.D2H, HostMemory.PAGEABLE, 4)
    assert not holds(call, Direction.D2H, HostMemory.PINNED, 4)
    assert not holds(call, Direction.H2D, HostMemory.PAGEABLE, STAGED_BYTES)
    assert holds(call, Direction.H2D, HostMemory.PAGEABLE, STAGED_BYTES + 1)


def test_copy_names_of_torch_profiler() -> None:
    assert copy_of("Memcpy DtoH (Device -> Pageable)") == (Direction.D2H, HostMemory.PAGEABLE)
    assert copy_of("Memcpy HtoD (Pinned -> Device)") == (Direction.H2D, HostMemory.PINNED)
    assert copy_of("Memcpy DtoD (Device -> Device)") == (Direction.D2D, None)
    assert copy_of("Memset (Device)") is None
