"""What a sensor can see: one frozen record for each kind of thing that happened, and how millions of them are made."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum

from typing_extensions import assert_never

STEP_RANGE = "syncwatch.step"
"""Followed by a blank and the number of the step."""
PACING_RANGE = "syncwatch.pacing"
BUILD_RANGE = "build metadata"
"""In it a scenario builds on the host what its kernels need; its time is reported apart."""


class SyncKind(str, Enum):
    """What the host stood still for."""

    STREAM = "stream"
    DEVICE = "device"
    EVENT = "event"
    COPY = "copy"
    """A copy that held the host without any synchronization call, such as a non-blocking D2H into pageable memory."""
    ALLOCATION = "allocation"
    """The allocator asked the driver for memory, or gave some back; counted apart from the synchronizations."""

    def api(self) -> str:
        """Return the CUDA runtime call that waits this way, where no sensor named the call itself."""
        if self is SyncKind.STREAM:
            return "cudaStreamSynchronize"
        if self is SyncKind.DEVICE:
            return "cudaDeviceSynchronize"
        if self is SyncKind.EVENT:
            return "cudaEventSynchronize"
        if self is SyncKind.COPY:
            return "cudaMemcpyAsync"
        if self is SyncKind.ALLOCATION:
            return "cudaMalloc"
        assert_never(self)


class Direction(str, Enum):
    """Where the bytes of a copy went."""

    H2D = "h2d"
    D2H = "d2h"
    D2D = "d2d"


class HostMemory(str, Enum):
    """What kind of host memory a copy touched."""

    PAGEABLE = "pageable"
    PINNED = "pinned"


LIBRARIES = ("torch", "triton", "numpy", "syncwatch")
"""Packages whose lines no reader of a report can edit, wherever they are installed."""

LIBRARY_FILES = ("torch/", "triton/", "numpy/", "<stdlib>/", "syncwatch/")
"""How `Frame.file` begins where it is not the user's; up to the slash, as `torch_utils/` is theirs."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One line of one Python stack."""

    file: str
    """Path relative to the checkout or to site-packages; never an absolute home path."""
    line: int
    function: str
    code: str
    """The source line, stripped; empty when the source could not be read."""
    expression: str | None
    """The source text of the call that was running, where the interpreter records columns (3.11 and later)."""
    branches: bool = False
    """Whether Python was asking for the truth of `expression`: `if`, `while`, `and`, `not`."""


@dataclass(frozen=True, slots=True)
class Call:
    """The host call behind work on the device."""

    thread: int
    """Index into `Recording.threads`."""
    name: str
    """As `cudaLaunchKernel`."""
    start_ns: int
    end_ns: int
    watch_ns: int = 0
    """For how long syncwatch then held the thread, to look the line up; no part of the call."""


@dataclass(frozen=True, slots=True)
class SyncEvent:
    """A host thread stood still for the device."""

    step: int | None
    """The index of the step it happened in, or None outside every step."""
    thread: int
    """Index into `Recording.threads`."""
    kind: SyncKind
    explicit: bool
    """Whether the user asked for it (`torch.cuda.synchronize()`), rather than getting it as a side effect."""
    op: str | None
    """The operator that waited, as `aten.nonzero`; None where no sensor could tell."""
    stack: int | None
    """Index into `Recording.stacks`; None where no sensor has a line."""
    stream: int | None
    start_ns: int | None
    """When the host began to wait; None where it was not measured."""
    end_ns: int | None
    pacing: bool
    """Whether the runner itself waited here to keep its run-ahead; stated, never counted as the target's."""
    seen_by: tuple[str, ...]
    """The sensors that saw it, by name."""
    api: str | None = None
    """The runtime call that waited, where a sensor named it."""
    within: int | None = None
    """Index into `Recording.range_stacks`: the NVTX ranges around it; None where there were none."""
    allowed: str | None = None
    """The reason of the innermost `syncwatch.allow` around it."""
    device: int = 0
    """The GPU that was waited for; streams are numbered on each."""
    event: int | None = None
    """The CUDA event that was waited for, as `EventCall.event`; None for another kind of wait, or where none told."""
    watch_ns: int = 0
    """For how long syncwatch then held the thread, to look the line up; no part of the wait."""


@dataclass(frozen=True, slots=True)
class CopyEvent:
    """Bytes moved between host and device, or on the device."""

    step: int | None
    thread: int
    direction: Direction
    memory: HostMemory | None
    """The kind of host memory; None for device to device."""
    bytes: int
    blocking: bool | None
    """Whether the host waited for it; None where it was not measured."""
    op: str | None
    stack: int | None
    stream: int | None
    start_ns: int | None
    """When the copy engine began; None where it was not measured."""
    end_ns: int | None
    call: Call | None = None
    """The host call that asked for it; None where it was not recorded."""
    device: int = 0
    """The GPU whose engine copied."""


@dataclass(frozen=True, slots=True)
class KernelEvent:
    """A kernel or memset that ran on a stream."""

    step: int | None
    stream: int
    name: str
    start_ns: int
    end_ns: int
    call: Call | None = None
    """The host call that launched it; None where it was not recorded."""
    device: int = 0
    memset_bytes: int | None = None
    """How much memory it set; None for a kernel."""


@dataclass(frozen=True, slots=True)
class EventCall:
    """A host call that puts a CUDA event behind the work of a stream, or lets a stream wait for one."""

    event: int
    """A number for the event; one that was destroyed may leave it to another."""
    stream: int
    """The stream that records the event, or waits for it."""
    waits: bool
    """Whether the stream waits for the event (`cudaStreamWaitEvent`); else it records it (`cudaEventRecord`)."""
    thread: int
    """Index into `Recording.threads`."""
    start_ns: int
    device: int = 0


@dataclass(frozen=True, slots=True)
class RangeEvent:
    """A named range on a host thread, as NVTX shows it."""

    thread: int
    name: str
    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class Step:
    """One repetition of the work, on the clock of its recording."""

    index: int
    warmup: bool
    start_ns: int
    end_ns: int
    before_ns: int = 0
    """What it took of the host to begin it, just before `start_ns`: syncwatch's own time."""
    after_ns: int = 0
    """What it took of the host to end it, just after `end_ns`."""


@contextmanager
def collector_off() -> Iterator[None]:
    """Pause the cyclic collector, which has no cycles to find in records; also a decorator.

    `syncwatch gate` on a run of 100,000 waits took 1.53 instead of 1.93 s (benchmarks/gate_scale.py).
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            if not gc.get_freeze_count():
                # Into the oldest generation at once: else all of it is looked at first thing, with the whole program's
                # objects, which took 2.5 s in an engine (vLLM) whose round took as long.
                gc.freeze()
                gc.unfreeze()
            gc.enable()
