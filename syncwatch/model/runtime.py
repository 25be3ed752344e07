"""The calls of the CUDA runtime and driver that wait. Whoever recorded them, they are judged alike."""

from __future__ import annotations

import re
from functools import lru_cache

from syncwatch.model.events import Direction, HostMemory, SyncKind

STAGED_BYTES = 2 * 1024 * 1024
"""Up to here the driver takes a pageable upload into its own buffer and returns at once.

Measured on an H200 (driver 580) behind 10 ms of queued work: 2 MiB returned in 0.2 ms, 4 MiB only after the work.
CUDA's own pages promise it up to 64 KiB (API synchronization behavior).
"""

_WAITING_CALLS = {
    "cudaStreamSynchronize": SyncKind.STREAM,
    "cudaDeviceSynchronize": SyncKind.DEVICE,
    "cudaThreadSynchronize": SyncKind.DEVICE,
    "cudaEventSynchronize": SyncKind.EVENT,
    "cuStreamSynchronize": SyncKind.STREAM,
    "cuCtxSynchronize": SyncKind.DEVICE,
    "cuEventSynchronize": SyncKind.EVENT,
    "cudaMalloc": SyncKind.ALLOCATION,
    "cudaMallocManaged": SyncKind.ALLOCATION,
    "cudaMallocPitch": SyncKind.ALLOCATION,
    "cudaMallocHost": SyncKind.ALLOCATION,
    "cudaHostAlloc": SyncKind.ALLOCATION,
    "cudaHostRegister": SyncKind.ALLOCATION,
    "cudaFree": SyncKind.ALLOCATION,
    "cudaFreeHost": SyncKind.ALLOCATION,
    "cuMemAlloc": SyncKind.ALLOCATION,
    "cuMemAllocManaged": SyncKind.ALLOCATION,
    "cuMemAllocPitch": SyncKind.ALLOCATION,
    "cuMemAllocHost": SyncKind.ALLOCATION,
    "cuMemHostAlloc": SyncKind.ALLOCATION,
    "cuMemHostRegister": SyncKind.ALLOCATION,
    "cuMemCreate": SyncKind.ALLOCATION,
    "cuMemUnmap": SyncKind.ALLOCATION,
    "cuMemFree": SyncKind.ALLOCATION,
    "cuMemFreeHost": SyncKind.ALLOCATION,
}
"""Not the stream-ordered ones, such as `cudaMallocAsync`: they are queued."""

_GPU_CALL = re.compile(r"(cuda|cu|hip)[A-Z]\w+")
_COPY_CALL = re.compile(r"cu(da)?Memcpy")
_VERSION = re.compile(r"_v\d{4,}$")
"""nsys calls the runtime `cudaMemcpyAsync_v3020`, by the CUDA version that the call is from."""
_ABI = re.compile(r"(_v\d+|_ptsz|_ptds)+$")
"""Also `cuMemcpyDtoH_v2`, and the twins for programs that were built with a default stream for each thread."""
_COPY_NAME = re.compile(r"Memcpy (?P<direction>\w+) \((?P<source>\w+) -> (?P<target>\w+)\)")
_DIRECTIONS = {"HtoD": Direction.H2D, "DtoH": Direction.D2H, "DtoD": Direction.D2D, "PtoP": Direction.D2D}

WAITING_ROWS = {
    "Stream Sync": SyncKind.STREAM,
    "Context Sync": SyncKind.DEVICE,
    "Event Sync": SyncKind.EVENT,
}
"""Rows of torch.profiler's category `cuda_sync`; `Stream Wait Event` lets a stream wait, not the host."""


@lru_cache(maxsize=4096)
def call_name(recorded: str) -> str:
    """Return the name of a call as programmers write it, without the CUDA version that nsys appends."""
    return _VERSION.sub("", recorded)


@lru_cache(maxsize=4096)
def wait_of(call: str) -> SyncKind | None:
    """Return how the host waits in the call of this name; None where it does not, or where a copy decides."""
    return _WAITING_CALLS.get(_ABI.sub("", call))


@lru_cache(maxsize=4096)
def is_driver_call(call: str) -> bool:
    """Return whether the call is one of the driver, as `cuLaunchKernel`; of the runtime it is `cudaLaunchKernel`."""
    return call.startswith("cu") and not call.startswith("cuda")


@lru_cache(maxsize=4096)
def is_gpu_call(name: str) -> bool:
    """Return whether it is called as the functions of CUDA's runtime and driver are, or those of HIP."""
    return _GPU_CALL.fullmatch(name) is not None


@lru_cache(maxsize=4096)
def is_copy(call: str) -> bool:
    """Return whether the call asks for a copy."""
    return _COPY_CALL.match(call) is not None


@lru_cache(maxsize=4096)
def is_launch(call: str) -> bool:
    """Return whether the call asks the GPU for a kernel or a graph; a function for the host is neither."""
    return "Launch" in call and "HostFunc" not in call


@lru_cache(maxsize=4096)
def is_blocking_copy(call: str) -> bool:
    """Return whether the call is a copy that has no stream to be queued on, such as `cudaMemcpy`."""
    bare = _ABI.sub("", call)
    return is_copy(bare) and not bare.endswith("Async")


def holds(call: str, direction: Direction, memory: HostMemory | None, size: int) -> bool:
    """Return whether a copy call returns only after the work that was queued before it.

    Args:
        call: its name; a copy inside a CUDA graph has the call that launched the graph, which does not wait.
        direction: where the bytes went; copies on the device never hold the host (CUDA's API synchronization behavior).
        memory: the kind of host memory; None where it is not known, or there is none.
        size: in bytes.
    """
    if direction is Direction.D2D or not is_copy(call):
        return False
    if is_blocking_copy(call):
        return True
    if memory is not HostMemory.PAGEABLE:
        return False
    return direction is Direction.D2H or size > STAGED_BYTES


@lru_cache(maxsize=4096)
def copy_of(name: str) -> tuple[Direction, HostMemory | None] | None:
    """Return what torch.profiler's name of a copy tells, as `Memcpy DtoH (Device -> Pageable)`; None for others."""
    match = _COPY_NAME.match(name)
    direction = _DIRECTIONS.get(match["direction"]) if match else None
    if match is None or direction is None:
        return None
    ends = {match["source"], match["target"]}
    memory = HostMemory.PINNED if "Pinned" in ends else HostMemory.PAGEABLE if "Pageable" in ends else None
    return direction, memory
