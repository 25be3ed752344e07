"""The memory of the device as Python sees it, and as `torch.cuda` counts it; counted where it is allocated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from ctypes import byref, c_int64
from typing import Any

from syncwatch.sense.virtual.native.library import Counts, calls

_FIGURES = (
    *("allocation", "segment", "active", "inactive_split", "allocated_bytes", "reserved_bytes"),
    *("active_bytes", "inactive_split_bytes", "requested_bytes"),
)
_POOLS = ("all", "small_pool", "large_pool")
_STAT = ("current", "peak", "allocated", "freed")
_NO_LIMIT = (1 << 63) - 1
"""`max_split_size` where none is set: the largest number that the count holds."""

Stat = dict[str, int]


class DeviceMemory:
    """The bytes that live on the device, as the caching allocator counts them."""

    __slots__ = ("_calls", "_fraction", "capacity", "check")

    def __init__(self, capacity: int) -> None:
        self._calls: Any = calls()
        self._fraction = 1.0
        self.capacity = capacity
        self.check: Any = lambda failed: None
        """Raises what Python raised while C++ asked it, where a call says that it did."""

    def counts(self) -> Counts:
        """Return all counts at once."""
        counts = Counts()
        self._calls.sw_counts(byref(counts))
        return counts

    def figures(self) -> dict[str, dict[str, Stat]]:
        """Return what is counted for each pool, by the names of `torch.cuda.memory_stats`."""
        numbers = iter(self.counts().figures)
        return {figure: {pool: {name: next(numbers) for name in _STAT} for pool in _POOLS} for figure in _FIGURES}

    def nested(self) -> dict[str, Any]:
        """Return what `torch.cuda.memory_stats_as_nested_dict` does."""
        counts = self.counts()
        nothing = dict.fromkeys(_STAT, 0)
        return {
            "num_alloc_retries": counts.retries,
            "num_ooms": counts.failures,
            "max_split_size": _NO_LIMIT,
            "num_sync_all_streams": counts.synchronized,
            "num_device_alloc": counts.segments_taken,
            "num_device_free": counts.segments_given,
            **self.figures(),
            "oversize_allocations": nothing,
            "oversize_segments": dict(nothing),
        }

    def host_nested(self) -> dict[str, Any]:
        """Return blocks and bytes of page-locked memory, by the names of `torch.cuda.host_memory_stats`."""
        numbers = (c_int64 * (2 * len(_STAT)))()
        self._calls.sw_host_counts(numbers)
        blocks, size = (dict(zip(_STAT, numbers[start : start + 4], strict=True)) for start in (0, 4))
        return {
            "num_host_alloc": blocks["allocated"],
            "num_host_free": blocks["freed"],
            "allocations": blocks,
            "allocated_bytes": size,
        }

    def _figure(self, name: str, stat: str) -> int:
        return self.figures()[name]["all"][stat]

    @property
    def allocated(self) -> int:
        """Bytes of tensors."""
        return self._figure("allocated_bytes", "current")

    @property
    def peak(self) -> int:
        """The most bytes of tensors so far."""
        return self._figure("allocated_bytes", "peak")

    @property
    def reserved(self) -> int:
        """Bytes taken from the driver."""
        return self._figure("reserved_bytes", "current")

    @property
    def reserved_peak(self) -> int:
        """The most bytes taken from the driver so far."""
        return self._figure("reserved_bytes", "peak")

    @property
    def allocations(self) -> int:
        """How many there were since the device is on."""
        return int(self.counts().taken)

    @property
    def fraction(self) -> float:
        """The part of the capacity that may be used."""
        return self._fraction

    @fraction.setter
    def fraction(self, value: float) -> None:
        self._fraction = value
        self._calls.sw_allow(int(value * self.capacity))

    def reset_peak(self) -> None:
        """Begin to look for the most bytes anew."""
        self._calls.sw_reset_peak(0)

    def reset_accumulated(self) -> None:
        """Begin to sum up anew."""
        self._calls.sw_reset_accumulated(0)

    def reset_host_peak(self) -> None:
        """Begin to look for the most page-locked bytes anew."""
        self._calls.sw_reset_peak(1)

    def reset_host_accumulated(self) -> None:
        """Begin to sum up page-locked memory anew."""
        self._calls.sw_reset_accumulated(1)

    def empty_cache(self) -> None:
        """Give segments that nobody uses back to the driver."""
        self.check(self._calls.sw_empty_cache(0))

    def empty_host_cache(self) -> None:
        """Give page-locked blocks that nobody uses back to the driver."""
        self.check(self._calls.sw_empty_cache(1))

    def clear_workspaces(self) -> None:
        """Give the workspaces of cuBLAS back to the allocator."""
        self._calls.sw_clear_workspaces()


def memory_functions(memory: DeviceMemory) -> dict[str, Callable[..., Any]]:
    """Return the functions by the name they have in `torch.cuda` and `torch.cuda.memory`."""

    def reset_peak(device: Any = None) -> None:
        memory.reset_peak()

    def set_fraction(fraction: float, device: Any = None) -> None:
        if not isinstance(fraction, float):
            raise TypeError("Invalid type for fraction argument, must be `float`")
        if not 0 <= fraction <= 1:
            raise ValueError(f"Invalid fraction value: {fraction}. Allowed range: 0~1")
        memory.fraction = fraction

    return {
        "memory_allocated": lambda device=None: memory.allocated,
        "max_memory_allocated": lambda device=None: memory.peak,
        "memory_reserved": lambda device=None: memory.reserved,
        "max_memory_reserved": lambda device=None: memory.reserved_peak,
        "memory_cached": lambda device=None: memory.reserved,
        "max_memory_cached": lambda device=None: memory.reserved_peak,
        "reset_peak_memory_stats": reset_peak,
        "reset_max_memory_allocated": reset_peak,
        "reset_max_memory_cached": reset_peak,
        "reset_accumulated_memory_stats": lambda device=None: memory.reset_accumulated(),
        "memory_stats": lambda device=None: dict(sorted(_flat("", memory.nested()))),
        "memory_stats_as_nested_dict": lambda device=None: memory.nested(),
        "memory_snapshot": lambda *args, **kwargs: [],
        "empty_cache": memory.empty_cache,
        "mem_get_info": lambda device=None: (memory.capacity - memory.reserved, memory.capacity),
        "set_per_process_memory_fraction": set_fraction,
        "get_per_process_memory_fraction": lambda device=None: memory.fraction,
        "host_memory_stats": lambda: dict(sorted(_flat("", memory.host_nested()))),
        "host_memory_stats_as_nested_dict": memory.host_nested,
        "reset_peak_host_memory_stats": memory.reset_host_peak,
        "reset_accumulated_host_memory_stats": memory.reset_host_accumulated,
        "list_gpu_processes": lambda device=None: "GPU:0\nvirtual",
    }


def _flat(prefix: str, entries: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    for name, entry in entries.items():
        if isinstance(entry, Mapping):
            yield from _flat(f"{prefix}{name}.", entry)
        else:
            yield prefix + name, entry
