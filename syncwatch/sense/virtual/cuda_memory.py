"""Answers: what do the memory functions of `torch.cuda` say? The counts of the marked storages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from syncwatch.sense.virtual.memory import Memory


def memory_functions(memory: Memory) -> dict[str, Callable[..., Any]]:
    """Return the functions by the name they have in `torch.cuda` and `torch.cuda.memory`."""

    def reset_peak(device: Any = None) -> None:
        memory.reset_peak()

    def empty_cache() -> None:
        memory.empty_cache()

    def stats(device: Any = None) -> dict[str, int]:
        return {
            "allocated_bytes.all.current": memory.allocated,
            "allocated_bytes.all.peak": memory.peak,
            "active_bytes.all.current": memory.allocated,
            "active_bytes.all.peak": memory.peak,
            "reserved_bytes.all.current": memory.reserved,
            "reserved_bytes.all.peak": memory.reserved_peak,
            "allocation.all.allocated": memory.allocations,
            "num_alloc_retries": 0,
            "num_ooms": 0,
            "num_sync_all_streams": 0,
        }

    return {
        "memory_allocated": lambda device=None: memory.allocated,
        "max_memory_allocated": lambda device=None: memory.peak,
        "memory_reserved": lambda device=None: memory.reserved,
        "max_memory_reserved": lambda device=None: memory.reserved_peak,
        "memory_cached": lambda device=None: memory.reserved,
        "reset_peak_memory_stats": reset_peak,
        "reset_max_memory_allocated": reset_peak,
        "reset_accumulated_memory_stats": lambda device=None: None,
        "memory_stats": stats,
        "memory_stats_as_nested_dict": lambda device=None: {},
        "memory_summary": lambda device=None, abbreviated=False: f"virtual: {memory.allocated} bytes allocated",
        "memory_snapshot": lambda *args, **kwargs: [],
        "empty_cache": empty_cache,
        "mem_get_info": lambda device=None: (memory.capacity - memory.reserved, memory.capacity),
        "set_per_process_memory_fraction": lambda fraction, device=None: None,
        "get_per_process_memory_fraction": lambda device=None: 1.0,
        "host_memory_stats": lambda: {},
        "host_memory_stats_as_nested_dict": lambda: {},
        "reset_peak_host_memory_stats": lambda: None,
        "reset_accumulated_host_memory_stats": lambda: None,
        "list_gpu_processes": lambda device=None: "GPU:0\nvirtual",
    }
