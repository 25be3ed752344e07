"""The copies and waits that an operator can ask of the CUDA runtime, in order."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from syncwatch.model.events import Direction, HostMemory, SyncKind


@dataclass(frozen=True, slots=True)
class RuntimeCall:
    """A copy, a wait, or a copy that is waited for."""

    direction: Direction | None
    """None for a wait alone."""
    memory: HostMemory | None
    size: int
    wait: SyncKind | None


@lru_cache(maxsize=64)
def read(size: int) -> RuntimeCall:
    """Return a read of a few bytes through torch's own pinned buffer, as `.item()` does, and the wait for it."""
    return RuntimeCall(Direction.D2H, HostMemory.PINNED, size, SyncKind.STREAM)


def read_pageable(size: int) -> RuntimeCall:
    """Return a read into ordinary host memory, as `.cpu()` does, and the wait for it."""
    return RuntimeCall(Direction.D2H, HostMemory.PAGEABLE, size, SyncKind.STREAM)


def upload(size: int) -> RuntimeCall:
    """Return an upload from ordinary host memory, and the wait for it."""
    return RuntimeCall(Direction.H2D, HostMemory.PAGEABLE, size, SyncKind.STREAM)


def upload_pinned(size: int) -> RuntimeCall:
    """Return an upload from pinned memory that nobody waits for."""
    return RuntimeCall(Direction.H2D, HostMemory.PINNED, size, None)


WAIT = RuntimeCall(None, None, 0, SyncKind.STREAM)
"""A wait for the stream without any copy."""
WAIT_DEVICE = RuntimeCall(None, None, 0, SyncKind.DEVICE)
"""A wait for the whole device, as `cudaFree` inside a library causes."""
ALLOCATION = RuntimeCall(None, None, 0, SyncKind.ALLOCATION)
"""A `cudaMalloc` or `cudaFree` inside a library; counted apart from the synchronizations."""
