"""Numbers of CUPTI's headers that no package gives; where the fields of its records lie, `cupti.h` of the sensor says.

From cupti_activity.h, cupti_result.h of CUDA 12.8, 13.0 and 13.2, where they are the same.
"""

from __future__ import annotations

from enum import IntEnum

MULTIPLE_SUBSCRIBERS = 39
"""CUPTI_ERROR_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED of cupti_result.h."""
DRIVER_CALLS_REFUSED = (
    "CUPTI does not tell of the driver call with callback id {number} (error {status}), so waits in it would not be "
    "seen. Update syncwatch, or say which driver this is in a report."
)


class RecordKind(IntEnum):
    """The records that are kept (CUpti_ActivityKind)."""

    COPY = 1
    MEMSET = 2
    KERNEL = 10
    PEER_COPY = 22
    EVENT = 36
    SYNCHRONIZATION = 38


class SyncType(IntEnum):
    """What a synchronization record is of (CUpti_ActivitySynchronizationType)."""

    EVENT = 1
    STREAM_WAIT_EVENT = 2
    STREAM = 3
    CONTEXT = 4


class CopyWay(IntEnum):
    """Where the bytes of a copy record went (CUpti_ActivityMemcpyKind)."""

    HOST_TO_DEVICE = 1
    DEVICE_TO_HOST = 2
    DEVICE_TO_DEVICE = 8
    PEER_TO_PEER = 10


class MemoryKind(IntEnum):
    """What kind of memory one end of a copy is (CUpti_ActivityMemoryKind)."""

    PAGEABLE = 1
    PINNED = 2
    DEVICE = 3
    MANAGED = 5
