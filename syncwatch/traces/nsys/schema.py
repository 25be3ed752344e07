"""Declares the tables that nsys reads, schemas 3.0 (2022.4) to 3.28 (2026.4) in one, their numbers, and two of ours.

nsys leaves a report out, and still ends with 0, when a table or column of its own version is missing: so all are there,
filled or not. What a version does not know it ignores. Columns that nsys always fills and syncwatch does not measure,
such as registers a thread, may be NULL here. https://docs.nvidia.com/nsight-systems/AnalysisGuide/index.html
"""

from __future__ import annotations

from typing import Any

import msgspec

from syncwatch.model.codec import encode
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


SCHEMA_VERSION = (3, 11, 1)
"""That of nsys 2024.2, the newest that the tests run."""

_ENUM = "id INTEGER NOT NULL PRIMARY KEY, name TEXT, label TEXT"
_META = "name TEXT NOT NULL, value TEXT"
_SPAN = "start INTEGER NOT NULL, end INTEGER NOT NULL"
_ON_DEVICE = (
    f"{_SPAN}, deviceId INTEGER NOT NULL, contextId INTEGER NOT NULL, greenContextId INTEGER, "
    "streamId INTEGER NOT NULL, correlationId INTEGER, globalPid INTEGER"
)


def _integers(names: str) -> str:
    return ", ".join(f"{name} INTEGER" for name in names.split())


TABLES = {
    "StringIds": "id INTEGER NOT NULL PRIMARY KEY, value TEXT NOT NULL",
    "ThreadNames": "nameId INTEGER NOT NULL, priority INTEGER, globalTid INTEGER",
    "PROCESSES": "globalPid INTEGER, pid INTEGER, name TEXT",
    "ANALYSIS_DETAILS": "globalVid INTEGER NOT NULL, duration INTEGER NOT NULL, startTime INTEGER NOT NULL, "
    "stopTime INTEGER NOT NULL",
    "TARGET_INFO_SESSION_START_TIME": "utcEpochNs INTEGER, utcTime TEXT, localTime TEXT",
    "TARGET_INFO_SYSTEM_ENV": "globalVid INTEGER, devStateName TEXT NOT NULL, name TEXT NOT NULL, "
    "nameEnum INTEGER NOT NULL, value TEXT NOT NULL",
    "TARGET_INFO_GPU": "vmId INTEGER NOT NULL, id INTEGER NOT NULL, name TEXT, busLocation TEXT, "
    + _integers("isDiscrete l2CacheSize totalMemory memoryBandwidth clockRate smCount pwGpuId")
    + ", uuid TEXT, luid INTEGER, chipName TEXT, cuDevice INTEGER, ctxswDevPath TEXT, ctrlDevPath TEXT, "
    + _integers(
        "revision nodeMask constantMemory maxIPC maxRegistersPerBlock maxShmemPerBlock maxShmemPerBlockOptin "
        "maxShmemPerSm maxRegistersPerSm threadsPerWarp asyncEngines maxWarpsPerSm maxBlocksPerSm maxThreadsPerBlock "
        "maxBlockDimX maxBlockDimY maxBlockDimZ maxGridDimX maxGridDimY maxGridDimZ computeMajor computeMinor smMajor "
        "smMinor numaNodeId"
    ),
    "TARGET_INFO_CUDA_DEVICE": "gpuId INTEGER NOT NULL, cudaId INTEGER NOT NULL, pid INTEGER NOT NULL, uuid TEXT, "
    "numMultiprocessors INTEGER",
    "TARGET_INFO_CUDA_STREAM": _integers("streamId hwId vmId processId contextId priority flag"),
    # Up to 2022, and from 2023 on.
    "TARGET_INFO_CUDA_NULL_STREAM": _integers("streamId hwId vmId processId deviceId contextId"),
    "TARGET_INFO_CUDA_CONTEXT_INFO": _integers(
        "nullStreamId hwId vmId processId deviceId contextId parentContextId isGreenContext"
    ),
    "NVTX_EVENTS": "start INTEGER NOT NULL, end INTEGER, eventType INTEGER NOT NULL, rangeId INTEGER, "
    "category INTEGER, color INTEGER, text TEXT, globalTid INTEGER, endGlobalTid INTEGER, textId INTEGER, "
    "domainId INTEGER, uint64Value INTEGER, int64Value INTEGER, doubleValue REAL, uint32Value INTEGER, "
    "int32Value INTEGER, floatValue REAL, jsonTextId INTEGER, jsonText TEXT, binaryData TEXT, "
    "eventId INTEGER NOT NULL PRIMARY KEY",
    "CUPTI_ACTIVITY_KIND_RUNTIME": f"{_SPAN}, eventClass INTEGER NOT NULL, globalTid INTEGER, correlationId INTEGER, "
    "nameId INTEGER NOT NULL, returnValue INTEGER NOT NULL, callchainId INTEGER",
    "CUPTI_ACTIVITY_KIND_KERNEL": f"{_ON_DEVICE}, demangledName INTEGER NOT NULL, shortName INTEGER NOT NULL, "
    + _integers(
        "mangledName launchType cacheConfig registersPerThread gridX gridY gridZ blockX blockY blockZ "
        "staticSharedMemory dynamicSharedMemory localMemoryPerThread localMemoryTotal gridId sharedMemoryExecuted "
        "graphNodeId sharedMemoryLimitConfig qmdBulkReleaseDone qmdPreexitDone qmdLastCtaDone graphId clusterX "
        "clusterY clusterZ clusterSchedulingPolicy maxPotentialClusterSize maxActiveClusters "
        "sharedMemoryRequestedPercentage"
    )
    + ", tensorSizeMinusOneElements TEXT",
    "CUPTI_ACTIVITY_KIND_MEMCPY": f"{_ON_DEVICE}, bytes INTEGER NOT NULL, copyKind INTEGER NOT NULL, "
    + _integers(
        "deprecatedSrcId srcKind dstKind srcDeviceId srcContextId dstDeviceId dstContextId migrationCause graphNodeId "
        "virtualAddress copyCount"
    ),
    "CUPTI_ACTIVITY_KIND_MEMSET": f"{_ON_DEVICE}, value INTEGER, bytes INTEGER NOT NULL, graphNodeId INTEGER, "
    "memKind INTEGER",
    "CUPTI_ACTIVITY_KIND_SYNCHRONIZATION": f"{_ON_DEVICE}, deprecatedSyncType INTEGER, syncType INTEGER NOT NULL, "
    "eventId INTEGER NOT NULL, eventSyncId INTEGER",
    "ENUM_NSYS_EVENT_TYPE": _ENUM,
    "ENUM_NSYS_EVENT_CLASS": _ENUM,
    "ENUM_CUDA_MEMCPY_OPER": _ENUM,
    "ENUM_CUDA_MEM_KIND": _ENUM,
    "ENUM_CUPTI_SYNC_TYPE": _ENUM,
    "ENUM_CUPTI_STREAM_TYPE": _ENUM,
    # Up to 2022, misspelt there, and from 2023 on.
    "ENUM_CUDA_KRENEL_LAUNCH_TYPE": _ENUM,
    "ENUM_CUDA_KERNEL_LAUNCH_TYPE": _ENUM,
    # Up to 2022, and from 2023 on.
    "EXPORT_META_DATA": _META,
    "META_DATA_EXPORT": _META,
    "META_DATA_CAPTURE": _META,
    # Ours: see `dump`.
    "SYNCWATCH_SESSION": "key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL",
    "SYNCWATCH_EVENTS": "recording INTEGER NOT NULL, kind TEXT NOT NULL, eventId INTEGER, correlationId INTEGER, "
    "details TEXT",
}
"""Each table with its columns, as SQLite declares them."""


class StringTable:
    """The table StringIds: every name stands once."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}

    def id_of(self, text: str) -> int:
        """Return the number of `text`."""
        return self._ids.setdefault(text, len(self._ids) + 1)

    def rows(self) -> list[tuple[int, str]]:
        """Return every number with its text."""
        # File names that are no UTF-8 come from the system with lone surrogates, which SQLite cannot hold.
        return [(number, text.encode("utf-8", "replace").decode()) for text, number in self._ids.items()]


def json_of(record: Any) -> str:
    """Return `record` as JSON."""
    try:
        return msgspec.json.encode(record).decode()
    except UnicodeEncodeError:
        return encode(record).decode()
