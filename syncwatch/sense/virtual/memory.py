"""The memory of the device as Python sees it; the counting is done where it is allocated (`native/memory.h`)."""

from __future__ import annotations

from ctypes import byref
from typing import Any

from syncwatch.sense.virtual.native.calls import Counts, calls


class Memory:
    """The bytes that live on the device, as the caching allocator would count them."""

    __slots__ = ("_calls", "capacity")

    def __init__(self, capacity: int) -> None:
        self._calls: Any = calls()
        self.capacity = capacity

    def counts(self) -> Counts:
        """Return all counts at once."""
        counts = Counts()
        self._calls.sw_counts(byref(counts))
        return counts

    @property
    def allocated(self) -> int:
        """Bytes of tensors."""
        return int(self.counts().allocated)

    @property
    def peak(self) -> int:
        """The most bytes of tensors so far."""
        return int(self.counts().peak)

    @property
    def reserved(self) -> int:
        """Bytes taken from the driver."""
        return int(self.counts().reserved)

    @property
    def reserved_peak(self) -> int:
        """The most bytes taken from the driver so far."""
        return int(self.counts().reserved_peak)

    @property
    def allocations(self) -> int:
        """How many there were so far."""
        return int(self.counts().allocations)

    def reset_peak(self) -> None:
        """Begin to look for the most bytes anew."""
        self._calls.sw_reset_peak()

    def empty_cache(self) -> bool:
        """Give back what is reserved and not in use; return whether there was any."""
        return bool(self._calls.sw_empty_cache())
