"""Sessions that tests export for nsys: one that has everything, and copies of it that lack one thing each."""

from __future__ import annotations

from dataclasses import replace

from syncwatch.model.events import (
    Call,
    CopyEvent,
    Direction,
    HostMemory,
    KernelEvent,
    RangeEvent,
    Step,
    SyncEvent,
    SyncKind,
)
from syncwatch.model.session import Recording, Session
from tests.helpers.fakes import MS, US, recording, session

MIB = 1 << 20


def us(start: int, end: int) -> tuple[int, int]:
    return start * US, end * US


def every_event() -> Session:
    """Return a session with one event of every kind, in 20 ms; the GPU idles 4.6, 6.4 and 2.2 ms, each after a wait."""
    graph = Call(0, "cudaGraphLaunch", *us(7_500, 7_600))
    kernels = (
        KernelEvent(
            0, 7, "void gemm<float>(float const*)", *us(1_000, 2_000), Call(0, "cudaLaunchKernel", *us(500, 510))
        ),
        KernelEvent(0, 13, "chunk_fwd", *us(1_500, 3_000), Call(1, "cuLaunchKernelEx", *us(900, 905))),
        KernelEvent(0, 7, "first in graph", *us(8_000, 8_500), graph),
        KernelEvent(0, 7, "second in graph", *us(8_500, 9_000), graph),
        KernelEvent(0, 7, "Memset (Device)", *us(9_000, 9_200), Call(0, "cudaMemsetAsync", *us(8_000, 8_010)), 0, MIB),
        KernelEvent(0, 7, "without a call", *us(16_000, 17_000)),
    )
    return session(
        replace(
            recording(kernels=kernels, copies=_copies(), syncs=_waits(), steps=(Step(0, False, 0, 20 * MS),)),
            threads=("MainThread", "worker"),
            ranges=(RangeEvent(0, "layer 0", *us(400, 4_000)), RangeEvent(1, "layer 0", *us(890, 910))),
        )
    )


def _copies() -> tuple[CopyEvent, ...]:
    read = Call(0, "cudaMemcpyAsync", *us(2_000, 2_100)), Call(0, "cudaMemcpy", *us(9_100, 9_700))
    sent = Call(1, "cudaMemcpyAsync", *us(19_000, 19_010)), Call(0, "cudaMemcpyAsync", *us(19_100, 19_110))
    down, up, pageable, pinned = Direction.D2H, Direction.H2D, HostMemory.PAGEABLE, HostMemory.PINNED
    return (
        CopyEvent(0, 0, down, pageable, 4 * MIB, True, "aten.item", 0, 7, *us(3_000, 3_400), read[0]),
        CopyEvent(0, 0, down, pageable, 2 * MIB, True, None, 0, 7, *us(9_200, 9_600), read[1]),
        CopyEvent(0, 1, up, pageable, MIB, False, None, 0, 13, *us(19_200, 19_300), sent[0]),
        CopyEvent(0, 0, up, pinned, MIB, False, None, 0, 7, *us(19_300, 19_330), sent[1]),
        CopyEvent(0, 0, Direction.D2D, None, 8 * MIB, False, None, None, 7, *us(19_330, 19_340)),
    )


def _waits() -> tuple[SyncEvent, ...]:
    seen = ("debug_mode", "cupti")
    return (
        # It begins with its copy's call, as the wait of a blocking read does.
        SyncEvent(
            0, 0, SyncKind.STREAM, False, "aten.item", 0, 7, *us(2_000, 3_500), False, seen, "cudaStreamSynchronize"
        ),
        SyncEvent(0, 0, SyncKind.COPY, False, None, 0, 7, *us(9_100, 9_700), False, ("cupti",), "cudaMemcpy"),
        SyncEvent(0, 1, SyncKind.EVENT, True, None, 0, 7, *us(16_500, 17_100), False, seen, "cudaEventSynchronize"),
        SyncEvent(0, 0, SyncKind.ALLOCATION, False, None, 0, None, *us(18_000, 18_050), False, seen, "cudaMalloc"),
        SyncEvent(None, 0, SyncKind.DEVICE, True, None, 0, None, *us(19_350, 19_400), True, seen),
    )


def lacking() -> dict[str, Session]:
    """Return copies of `every_event` by what each lacks, and sessions that are all but empty."""
    full = every_event().recordings[0]
    plain = [each for each in full.kernels or () if each.memset_bytes is None]
    changed: dict[str, Recording] = {
        "memset": replace(full, kernels=tuple(plain)),
        "copy": replace(full, copies=()),
        "sync": replace(full, syncs=()),
        "kernel": replace(full, kernels=()),
        "call": replace(full, kernels=tuple(replace(each, call=None) for each in plain), copies=(), syncs=()),
        "range": replace(full, ranges=(), steps=()),
        "record of kernels and copies": replace(full, kernels=None, copies=None),
        "time": replace(
            full,
            kernels=None,
            copies=None,
            syncs=tuple(replace(each, start_ns=None, end_ns=None) for each in full.syncs),
        ),
        "anything": recording(),
    }
    return {lacks: session(each) for lacks, each in changed.items()} | {"recording": session()}
