"""Declares the tables that nsys reads, schemas 3.0 (2022.4) to 3.28 (2026.4) in one, and two of ours.

nsys leaves a report out, and still ends with 0, when a table or column of its own version is missing: so all are there,
filled or not. What a version does not know it ignores. Columns that nsys always fills and syncwatch does not measure,
such as registers a thread, may be NULL here. https://docs.nvidia.com/nsight-systems/AnalysisGuide/index.html
"""

from __future__ import annotations

from typing import Any

import msgspec

from syncwatch.model.codec import encode

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


class Strings:
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
