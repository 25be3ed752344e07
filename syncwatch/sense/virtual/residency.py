"""Answers: which tensors live on the GPU? A mark on the storage, and the memory that the marks stand for.

The mark is a Python attribute of `tensor.untyped_storage()`. torch keeps the Python object of a storage for as long as
the storage lives, so that views, `.data` and `.detach()` share the mark, no registry is needed, nothing is kept alive,
and the end of the mark is the end of the allocation. Tensors without a storage (sparse) carry it themselves.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any, Final

import torch

MARK: Final = "_syncwatch_place"
"""The attribute of a storage that says where it is."""
_BLOCK = 512
"""What CUDA's caching allocator rounds up to."""
_SEGMENT = 2 * 1024 * 1024
"""What it asks the driver for at a time."""


@dataclass(slots=True)
class Memory:
    """The bytes that live on the device, as the caching allocator would count them."""

    capacity: int
    allocated: int = 0
    peak: int = 0
    reserved: int = 0
    reserved_peak: int = 0
    allocations: int = 0

    def grow(self, size: int) -> None:
        """Make room for `size` bytes more than ever before.

        Raises:
            torch.OutOfMemoryError: if there is none.
        """
        used = self.allocated + size
        if used > self.capacity:
            raise torch.OutOfMemoryError(
                f"CUDA out of memory. Tried to allocate {_readable(size)}. GPU 0 has a total capacity of "
                f"{_readable(self.capacity)} of which {_readable(self.capacity - self.allocated)} is free."
            )
        self.peak = used
        if used > self.reserved:
            self.reserved = -(-used // _SEGMENT) * _SEGMENT
            self.reserved_peak = max(self.reserved_peak, self.reserved)

    def empty_cache(self) -> None:
        """Give back what is reserved and not in use."""
        self.reserved = -(-self.allocated // _SEGMENT) * _SEGMENT


class Allocation:
    """The mark of a storage on the device; its end is the end of the allocation."""

    __slots__ = ("_memory", "_size")

    def __init__(self, memory: Memory, size: int) -> None:
        self._memory = memory
        self._size = 0
        rounded = (size + _BLOCK - 1) // _BLOCK * _BLOCK
        used = memory.allocated + rounded
        if used > memory.peak:
            memory.grow(rounded)
        # One is made for almost every operator, so the counting is done here.
        memory.allocated = used
        memory.allocations += 1
        self._size = rounded

    def __del__(self) -> None:
        self._memory.allocated -= self._size


class Pinned:
    """The mark of a storage in page-locked host memory."""

    __slots__ = ()


_PINNED: Final = Pinned()


def place_of(tensor: torch.Tensor) -> object | None:
    """Return the mark of `tensor`, or None for ordinary host memory."""
    try:
        return getattr(tensor.untyped_storage(), MARK, None)
    except (NotImplementedError, RuntimeError):
        return getattr(tensor, MARK, None)


def is_resident(tensor: torch.Tensor) -> bool:
    """Return whether `tensor` lives on the virtual device."""
    try:
        return type(getattr(tensor.untyped_storage(), MARK, None)) is Allocation
    except (NotImplementedError, RuntimeError):
        return type(getattr(tensor, MARK, None)) is Allocation


def is_storage_resident(storage: Any) -> bool:
    """Return whether an untyped storage lives on the virtual device."""
    return type(getattr(storage, MARK, None)) is Allocation


def mark_storage(storage: Any, memory: Memory) -> None:
    """Put an untyped storage on the device, if it is not there yet.

    Raises:
        torch.OutOfMemoryError: if it does not fit.
    """
    if not is_storage_resident(storage):
        setattr(storage, MARK, Allocation(memory, storage.nbytes()))


def is_pinned(tensor: torch.Tensor) -> bool:
    """Return whether `tensor` lies in page-locked host memory."""
    return place_of(tensor) is _PINNED


def mark_resident(tensor: torch.Tensor, memory: Memory) -> None:
    """Put the storage of `tensor` on the device, if it is not there yet.

    Raises:
        torch.OutOfMemoryError: if it does not fit.
    """
    try:
        storage: Any = tensor.untyped_storage()
    except (NotImplementedError, RuntimeError):
        _mark_without_storage(tensor, memory)
        return
    if type(getattr(storage, MARK, None)) is not Allocation:
        storage._syncwatch_place = Allocation(memory, storage.nbytes())


def on_host(tensor: torch.Tensor) -> torch.Tensor:
    """Return the values of a tensor on the device as an ordinary tensor of the same memory.

    The device keeps its memory on the host; a tensor that says otherwise of itself is looked at by its address.
    """
    if tensor.device.type == "cpu":
        return tensor
    storage = tensor.untyped_storage()
    size = storage.nbytes()
    if not size:
        return torch.empty(tensor.shape, dtype=tensor.dtype)
    memory = (ctypes.c_char * size).from_address(storage.data_ptr())
    flat = torch.frombuffer(memory, dtype=torch.uint8, count=size).view(tensor.dtype)
    return flat.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())


def mark_pinned(tensor: torch.Tensor) -> None:
    """Say that the storage of `tensor` is page-locked."""
    setattr(tensor.untyped_storage(), MARK, _PINNED)


def unmark(tensor: torch.Tensor) -> None:
    """Put the storage of `tensor` back into ordinary host memory."""
    try:
        storage: Any = tensor.untyped_storage()
    except (NotImplementedError, RuntimeError):
        storage = tensor
    if hasattr(storage, MARK):
        delattr(storage, MARK)


def _mark_without_storage(tensor: torch.Tensor, memory: Memory) -> None:
    """Mark a sparse tensor itself; its parts, which are tensors with storages, carry the bytes."""
    if type(getattr(tensor, MARK, None)) is not Allocation:
        setattr(tensor, MARK, Allocation(memory, 0))


def _readable(size: int) -> str:
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20)):
        if size >= factor:
            return f"{size / factor:.2f} {unit}"
    return f"{size / 1024:.2f} KiB"
