"""Answers: what did CUPTI record, once read? Frozen rows of host calls and of work on the device, without lines."""

from __future__ import annotations

from dataclasses import dataclass

from syncwatch.model.events import Direction, HostMemory, SyncKind


@dataclass(frozen=True, slots=True)
class Span:
    """A named interval on one host thread, in epoch ns."""

    tid: int
    name: str
    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class SyncCall:
    """A runtime call that waited, or that allocated."""

    call: Span
    kind: SyncKind
    stream: int | None
    """The stream that was waited for; None where CUPTI did not tell."""
    op: str | None
    op_start_ns: int | None
    """When the operator began: calls of one operator share it."""
    pacing: bool
    start_ns: int
    """When the host began to stand still: with the copy call before it, if the operator copied and then waited."""
    device: int = 0

    @property
    def end_ns(self) -> int:
        """Return when the host went on."""
        return self.call.end_ns


@dataclass(frozen=True, slots=True)
class CopyCall:
    """A copy on the device's engines, with the host call that asked for it."""

    call: Span
    direction: Direction
    memory: HostMemory | None
    bytes: int
    blocking: bool
    """Whether the host waited for it, by a synchronization call or inside the copy call itself."""
    op: str | None
    op_start_ns: int | None
    stream: int
    start_ns: int
    end_ns: int
    device: int = 0


@dataclass(frozen=True, slots=True)
class KernelRun:
    """A kernel or memset on a stream, with the host call that launched it."""

    call: Span
    name: str
    stream: int
    start_ns: int
    end_ns: int
    device: int = 0
    memset_bytes: int | None = None
    """How much memory it set; None for a kernel."""


@dataclass(frozen=True, slots=True)
class RuntimeTrace:
    """What CUPTI recorded inside the window, each kind in the order of its host calls."""

    syncs: tuple[SyncCall, ...]
    copies: tuple[CopyCall, ...]
    kernels: tuple[KernelRun, ...]
    steps: tuple[Span, ...]
    thread_names: dict[int, str]
    """What the profiler calls each system thread."""
    window: tuple[int, int]
