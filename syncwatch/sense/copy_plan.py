"""Decides what a copy between host and device does, from what is known of both sides; for sensors and virtual device.

It follows `copy_kernel_cuda` in ATen: contiguous copies of one type go straight to `cudaMemcpyAsync`, all others
through a contiguous temporary, and a temporary on the host is pageable.
"""

from __future__ import annotations

from dataclasses import dataclass

from syncwatch.model.events import Direction, HostMemory, SyncKind
from syncwatch.model.runtime import STAGED_BYTES


@dataclass(frozen=True, slots=True)
class Side:
    """One end of a copy."""

    on_device: bool
    pinned: bool
    dense: bool
    """Whether its elements fill one range of memory, in any order."""
    itemsize: int


@dataclass(frozen=True, slots=True)
class CopyPlan:
    """What the copy makes the runtime do."""

    direction: Direction
    memory: HostMemory
    size: int
    wait: SyncKind | None
    """How the host waits: STREAM for a call, COPY where the copy itself holds it, None where it does not wait."""


def plan_copy(source: Side, target: Side, numel: int, *, converts: bool, non_blocking: bool) -> CopyPlan | None:
    """Return what copying `numel` elements does, or None where nothing crosses between host and device.

    Args:
        source: where the elements are.
        target: where they go.
        numel: how many there are.
        converts: whether the types differ.
        non_blocking: what the caller asked for.
    """
    if source.on_device == target.on_device or numel == 0:
        return None
    upload = target.on_device
    host = source if upload else target
    # Types are converted on the host before an upload and after a blocking read, through a pageable temporary; a
    # non-blocking read converts on the device.
    temporary = not host.dense or (converts and (upload or not non_blocking))
    pinned = host.pinned and not temporary
    size = numel * (target.itemsize if upload or non_blocking else source.itemsize)
    direction = Direction.H2D if upload else Direction.D2H
    return CopyPlan(
        direction=direction,
        memory=HostMemory.PINNED if pinned else HostMemory.PAGEABLE,
        size=size,
        wait=_wait(direction, size, pinned=pinned, non_blocking=non_blocking),
    )


def _wait(direction: Direction, size: int, *, pinned: bool, non_blocking: bool) -> SyncKind | None:
    if not non_blocking:
        return SyncKind.STREAM
    if pinned or (direction is Direction.H2D and size <= STAGED_BYTES):
        return None
    return SyncKind.COPY
