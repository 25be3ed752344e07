"""Gives the numbers that nsys writes for threads, memory, copies, waits and ranges, and its ENUM tables."""

from __future__ import annotations

from syncwatch.model.events import Direction, HostMemory, SyncKind
from syncwatch.model.runtime import is_driver_call

VM_ID = 1
GLOBAL_VM = VM_ID << 48

PUSH_POP_RANGE = 59
DOMAIN_CREATE = 75
DEFAULT_DOMAIN = 0
SYNC_DOMAIN = 1
SYNC_DOMAIN_NAME = "syncwatch"
"""The domain of our ranges for synchronizations; the session's own ranges keep the default domain."""

NO_STREAM = 0xFFFFFFFF
"""What CUPTI writes for a stream or an event that is not one."""

DEVICE_MEMORY = 2
UNKNOWN_MEMORY = 7
MEMORY_KINDS = {HostMemory.PAGEABLE: 0, HostMemory.PINNED: 1, None: UNKNOWN_MEMORY}
COPY_KINDS = {Direction.H2D: 1, Direction.D2H: 2, Direction.D2D: 8}
SYNC_TYPES = {SyncKind.EVENT: 1, SyncKind.STREAM: 3, SyncKind.DEVICE: 4}
"""Waits inside copies and in the allocator are no synchronizations to CUPTI."""
REGULAR_LAUNCH = 1
NULL_STREAM_FLAG = 3
OTHER_STREAM_FLAG = 1

_LAUNCH_TYPES = (
    (0, "CUDA_KERNEL_LAUNCH_TYPE_UNKNOWN", "Unknown"),
    (1, "CUDA_KERNEL_LAUNCH_TYPE_REGULAR", "Regular"),
    (2, "CUDA_KERNEL_LAUNCH_TYPE_COOPERATIVE_SINGLE_DEVICE", "Coop Single Device"),
    (3, "CUDA_KERNEL_LAUNCH_TYPE_COOPERATIVE_MULTI_DEVICE", "Coop Multi Device"),
)
ENUMS = {
    "ENUM_NSYS_EVENT_TYPE": (
        (33, "NvtxCategory", "NvtxCategory"),
        (34, "NvtxMark", "NvtxMark"),
        (PUSH_POP_RANGE, "NvtxPushPopRange", "NvtxPushPopRange"),
        (60, "NvtxStartEndRange", "NvtxStartEndRange"),
        (DOMAIN_CREATE, "NvtxDomainCreate", "NvtxDomainCreate"),
        (76, "NvtxDomainDestroy", "NvtxDomainDestroy"),
    ),
    "ENUM_NSYS_EVENT_CLASS": (
        (0, "TRACE_PROCESS_EVENT_CUDA_RUNTIME", "CUDA runtime"),
        (1, "TRACE_PROCESS_EVENT_CUDA_DRIVER", "CUDA driver"),
    ),
    "ENUM_CUDA_MEMCPY_OPER": (
        (0, "CUDA_MEMCPY_KIND_UNKNOWN", "Unknown"),
        (1, "CUDA_MEMCPY_KIND_HTOD", "Host-to-Device"),
        (2, "CUDA_MEMCPY_KIND_DTOH", "Device-to-Host"),
        (8, "CUDA_MEMCPY_KIND_DTOD", "Device-to-Device"),
    ),
    "ENUM_CUDA_MEM_KIND": (
        (0, "CUDA_MEMOPR_MEMORY_KIND_PAGEABLE", "Pageable"),
        (1, "CUDA_MEMOPR_MEMORY_KIND_PINNED", "Pinned"),
        (2, "CUDA_MEMOPR_MEMORY_KIND_DEVICE", "Device"),
        (3, "CUDA_MEMOPR_MEMORY_KIND_ARRAY", "Array"),
        (4, "CUDA_MEMOPR_MEMORY_KIND_MANAGED", "Managed"),
        (5, "CUDA_MEMOPR_MEMORY_KIND_DEVICE_STATIC", "Device Static"),
        (6, "CUDA_MEMOPR_MEMORY_KIND_MANAGED_STATIC", "Managed Static"),
        (7, "CUDA_MEMOPR_MEMORY_KIND_UNKNOWN", "Unknown"),
    ),
    "ENUM_CUPTI_SYNC_TYPE": (
        (0, "CUPTI_ACTIVITY_SYNCHRONIZATION_TYPE_UNKNOWN", "Unknown"),
        (1, "CUPTI_ACTIVITY_SYNCHRONIZATION_TYPE_EVENT_SYNCHRONIZE", "Event sync"),
        (2, "CUPTI_ACTIVITY_SYNCHRONIZATION_TYPE_STREAM_WAIT_EVENT", "Stream wait sync"),
        (3, "CUPTI_ACTIVITY_SYNCHRONIZATION_TYPE_STREAM_SYNCHRONIZE", "Stream sync"),
        (4, "CUPTI_ACTIVITY_SYNCHRONIZATION_TYPE_CONTEXT_SYNCHRONIZE", "Context sync"),
    ),
    "ENUM_CUPTI_STREAM_TYPE": (
        (0, "CUPTI_ACTIVITY_STREAM_CREATE_FLAG_UNKNOWN", "Unknown stream type"),
        (OTHER_STREAM_FLAG, "CUPTI_ACTIVITY_STREAM_CREATE_FLAG_DEFAULT", "Default stream"),
        (2, "CUPTI_ACTIVITY_STREAM_CREATE_FLAG_NON_BLOCKING", "Non-blocking stream"),
        (NULL_STREAM_FLAG, "CUPTI_ACTIVITY_STREAM_CREATE_FLAG_NULL", "Null stream"),
    ),
    "ENUM_CUDA_KRENEL_LAUNCH_TYPE": _LAUNCH_TYPES,
    "ENUM_CUDA_KERNEL_LAUNCH_TYPE": _LAUNCH_TYPES,
}
"""Number, symbol and label of each value, as nsys 2024.2 exports them."""


def global_pid(pid: int) -> int:
    """Return how nsys writes the process `pid`, of 24 bits."""
    return GLOBAL_VM | pid << 24


def global_tid(pid: int, tid: int) -> int:
    """Return how nsys writes the thread `tid`, of 24 bits, of the process `pid`."""
    return global_pid(pid) | tid


def event_class(call: str) -> int:
    """Return 1 for a call of the driver, such as `cuLaunchKernel`, and 0 for one of the runtime."""
    return int(is_driver_call(call))
