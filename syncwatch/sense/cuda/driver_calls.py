"""The driver calls that matter, by CUPTI's callback id: those that can hold the host, and those that start work."""

from __future__ import annotations

from dataclasses import dataclass

from syncwatch.model.events import Direction, SyncKind


@dataclass(frozen=True, slots=True)
class DriverCall:
    """A driver call that waits, copies or allocates."""

    api: str
    """The runtime call of the same meaning, which most programs made."""
    kind: SyncKind | None = None
    """How it waits; None for a copy, whose record tells whether it did."""
    direction: Direction | None = None
    """Which way it copies; None for what is no copy, and where its record alone tells."""


_STREAM = DriverCall("cudaStreamSynchronize", SyncKind.STREAM)
_DEVICE = DriverCall("cudaDeviceSynchronize", SyncKind.DEVICE)
_EVENT = DriverCall("cudaEventSynchronize", SyncKind.EVENT)
_UPLOAD = DriverCall("cudaMemcpyAsync", direction=Direction.H2D)
_READ = DriverCall("cudaMemcpyAsync", direction=Direction.D2H)
_BLOCKING_UPLOAD = DriverCall("cudaMemcpy", direction=Direction.H2D)
_BLOCKING_READ = DriverCall("cudaMemcpy", direction=Direction.D2H)
_ANY_COPY = DriverCall("cudaMemcpyAsync")
_ANY_BLOCKING_COPY = DriverCall("cudaMemcpy")

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
    306: _ANY_COPY,  # cuMemcpyAsync
    418: _ANY_COPY,  # cuMemcpyAsync_ptsz
    305: _ANY_BLOCKING_COPY,  # cuMemcpy
    408: _ANY_BLOCKING_COPY,  # cuMemcpy_ptds
    289: DriverCall("cudaMemcpy2DAsync"),  # cuMemcpy2DAsync_v2
    424: DriverCall("cudaMemcpy2DAsync"),  # cuMemcpy2DAsync_v2_ptsz
    287: DriverCall("cudaMemcpy2D"),  # cuMemcpy2D_v2
    405: DriverCall("cudaMemcpy2D"),  # cuMemcpy2D_v2_ptds
    288: DriverCall("cudaMemcpy2D"),  # cuMemcpy2DUnaligned_v2
    406: DriverCall("cudaMemcpy2D"),  # cuMemcpy2DUnaligned_v2_ptds
    291: DriverCall("cudaMemcpy3DAsync"),  # cuMemcpy3DAsync_v2
    425: DriverCall("cudaMemcpy3DAsync"),  # cuMemcpy3DAsync_v2_ptsz
    290: DriverCall("cudaMemcpy3D"),  # cuMemcpy3D_v2
    407: DriverCall("cudaMemcpy3D"),  # cuMemcpy3D_v2_ptds
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

LINEAR_COPIES = frozenset({277, 421, 279, 422, 276, 397, 278, 398, 306, 418, 305, 408})
"""Copies whose third parameter is their size."""

_MEMSETS = (*range(249, 255), *range(411, 417), 216, 218, 220, 222, 224, 226, *range(428, 434))
STARTS_WORK: dict[int, str] = {
    307: "cudaLaunchKernel",  # cuLaunchKernel
    442: "cudaLaunchKernel",  # cuLaunchKernel_ptsz
    652: "cudaLaunchKernelExC",  # cuLaunchKernelEx
    653: "cudaLaunchKernelExC",  # cuLaunchKernelEx_ptsz
    477: "cudaLaunchCooperativeKernel",  # cuLaunchCooperativeKernel
    478: "cudaLaunchCooperativeKernel",  # cuLaunchCooperativeKernel_ptsz
    514: "cudaGraphLaunch",  # cuGraphLaunch
    515: "cudaGraphLaunch",  # cuGraphLaunch_ptsz
    **dict.fromkeys(_MEMSETS, "cudaMemsetAsync"),  # cuMemset{D8,D16,D32,D2D8,D2D16,D2D32}{_v2,Async} and their twins
    280: "cudaMemcpy",  # cuMemcpyDtoD_v2
    399: "cudaMemcpy",  # cuMemcpyDtoD_v2_ptds
    281: "cudaMemcpyAsync",  # cuMemcpyDtoDAsync_v2
    423: "cudaMemcpyAsync",  # cuMemcpyDtoDAsync_v2_ptsz
    318: "cudaMemcpyPeer",  # cuMemcpyPeer
    409: "cudaMemcpyPeer",  # cuMemcpyPeer_ptds
    319: "cudaMemcpyPeerAsync",  # cuMemcpyPeerAsync
    426: "cudaMemcpyPeerAsync",  # cuMemcpyPeerAsync_ptsz
}
"""Calls that queue work on the GPU and never hold the host for it, so that their line is not looked up.

By callback id, with the runtime call of the same meaning.
"""
GRAPH_LAUNCHES = (514, 515)
"""Calls that start several kernels each."""

ORDERS_STREAMS = (119, 441, 587, 588, 295, 436)
"""cuEventRecord, cuEventRecordWithFlags and cuStreamWaitEvent with their twins: one stream goes behind another."""

BEGIN_CAPTURE = (495, 496, 539, 540, 720, 721)
"""cuStreamBeginCapture, its second version, cuStreamBeginCaptureToGraph and their twins."""
END_CAPTURE = (497, 498)
"""cuStreamEndCapture and its twin."""

MAY_BE_UNKNOWN = frozenset({800, 587, 588, 652, 653, 720, 721})
"""cuCtxSynchronize_v2 came with CUDA 13, cuLaunchKernelEx with 11.8,
cuEventRecordWithFlags with 11.1, cuStreamBeginCaptureToGraph with 12.3: an older
CUPTI refuses the number, and no library there calls it."""
