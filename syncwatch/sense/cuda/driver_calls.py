"""The driver calls that can hold the host, by CUPTI's callback id, and what each does."""

from __future__ import annotations

from dataclasses import dataclass

from syncwatch.model.events import Direction, SyncKind


@dataclass(frozen=True, slots=True)
class DriverCall:
    """A driver call that waits, copies or allocates."""

    api: str
    """The runtime call of the same meaning, which most programs made."""
    kind: SyncKind | None = None
    """How it waits; None for a copy, which the price pass tells apart."""
    direction: Direction | None = None
    """Which way it copies; None for what is no copy."""


_STREAM = DriverCall("cudaStreamSynchronize", SyncKind.STREAM)
_DEVICE = DriverCall("cudaDeviceSynchronize", SyncKind.DEVICE)
_EVENT = DriverCall("cudaEventSynchronize", SyncKind.EVENT)
_UPLOAD = DriverCall("cudaMemcpyAsync", direction=Direction.H2D)
_READ = DriverCall("cudaMemcpyAsync", direction=Direction.D2H)
_BLOCKING_UPLOAD = DriverCall("cudaMemcpy", direction=Direction.H2D)
_BLOCKING_READ = DriverCall("cudaMemcpy", direction=Direction.D2H)

DRIVER_CALLS: dict[int, DriverCall] = {
    17: _DEVICE,  # cuCtxSynchronize
    800: _DEVICE,  # cuCtxSynchronize_v2
    126: _STREAM,  # cuStreamSynchronize
    440: _STREAM,  # cuStreamSynchronize_ptsz
    121: _EVENT,  # cuEventSynchronize
    277: _UPLOAD,  # cuMemcpyHtoDAsync_v2
    421: _UPLOAD,  # cuMemcpyHtoDAsync_v2_ptsz
    279: _READ,  # cuMemcpyDtoHAsync_v2
    422: _READ,  # cuMemcpyDtoHAsync_v2_ptsz
    276: _BLOCKING_UPLOAD,  # cuMemcpyHtoD_v2
    397: _BLOCKING_UPLOAD,  # cuMemcpyHtoD_v2_ptds
    278: _BLOCKING_READ,  # cuMemcpyDtoH_v2
    398: _BLOCKING_READ,  # cuMemcpyDtoH_v2_ptds
    243: DriverCall("cudaMalloc", SyncKind.ALLOCATION),  # cuMemAlloc_v2
    549: DriverCall("cuMemCreate", SyncKind.ALLOCATION),  # of expandable segments
    245: DriverCall("cudaFree", SyncKind.ALLOCATION),  # cuMemFree_v2
    552: DriverCall("cuMemUnmap", SyncKind.ALLOCATION),  # of expandable segments
    39: DriverCall("cudaHostAlloc", SyncKind.ALLOCATION),  # cuMemHostAlloc
    271: DriverCall("cudaHostAlloc", SyncKind.ALLOCATION),  # cuMemHostAlloc_v2
    294: DriverCall("cudaMallocHost", SyncKind.ALLOCATION),  # cuMemAllocHost_v2
    38: DriverCall("cudaFreeHost", SyncKind.ALLOCATION),  # cuMemFreeHost
    379: DriverCall("cudaHostRegister", SyncKind.ALLOCATION),  # cuMemHostRegister_v2
}
"""By the number in cupti_driver_cbid.h; numbers are never given again."""
