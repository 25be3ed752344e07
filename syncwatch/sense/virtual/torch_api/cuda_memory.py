"""The memory functions of `torch.cuda` on the virtual device, with the counts of the native allocator."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from syncwatch.sense.virtual.clock.memory import Memory


def memory_functions(memory: Memory) -> dict[str, Callable[..., Any]]:
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
