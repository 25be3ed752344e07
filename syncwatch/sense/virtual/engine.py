"""Answers: what has happened on the virtual device so far? One engine a process: clock, memory, recorders."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from syncwatch.model.events import Direction, HostMemory, SyncKind
from syncwatch.sense.guard import Wait, tell
from syncwatch.sense.recorder import Recorder
from syncwatch.sense.virtual.rates import Rates
from syncwatch.sense.virtual.residency import Memory
from syncwatch.sense.virtual.runtime_calls import RuntimeCall
from syncwatch.sense.virtual.streams import DEFAULT_STREAM, Span, StreamId, ThreadId, VirtualClock

SENSOR = "virtual"
SYNC_WARNING = "called a synchronizing CUDA operation"
_HERE = str(Path(__file__).parent) + os.sep


class DebugMode(IntEnum):
    """What `torch.cuda.set_sync_debug_mode` was set to."""

    DEFAULT = 0
    WARN = 1
    ERROR = 2


class Target(IntEnum):
    """Where the outputs of the running call belong."""

    INFER = 0
    """On the device if an input is there."""
    DEVICE = 1
    HOST = 2


@dataclass(slots=True)
class ThreadState:
    """What the device knows of one host thread."""

    ident: ThreadId
    stream: StreamId = DEFAULT_STREAM
    target: Target = Target.INFER
    call: tuple[object, ...] = ()
    """The arguments of the torch function that runs, to tell where an operator without inputs belongs."""
    function_mode: Any = None
    """The mode of the thread, to be put on again in callbacks."""
    stranger: Any = None
    """The modes of a thread that was noticed late; see `strangers`."""
    muted: bool = False
    """Whether what operators ask of the runtime is left out: CUDA takes another way here."""


@dataclass(slots=True)
class Capture:
    """What a CUDA graph will do when it is replayed."""

    kernels: list[tuple[str, int]] = field(default_factory=list)
    """Names and durations."""

    def operator(self, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        """Keep one operator, to be run again."""


@dataclass(slots=True)
class Engine:
    """The device: everything that happens on it goes through here."""

    rates: Rates
    memory: Memory
    clock: VirtualClock = field(default_factory=VirtualClock)
    recorders: tuple[Recorder, ...] = ()
    active: int = 0
    """How many devices are started; threads that outlive them see none."""
    default_device: torch.device | None = None
    """What `torch.set_default_device` was given, where that is this device."""
    debug_mode: DebugMode = DebugMode.DEFAULT
    capture: Capture | None = None
    """The CUDA graph that is being captured, if one is: a wait fails then, as it does on CUDA."""
    used: int = 0
    """How many kernels, copies and waits there were so far."""
    notes: set[str] = field(default_factory=set)
    """What a reader of the recording should know, a sentence each."""
    generator: torch.Generator = field(default_factory=torch.Generator)
    """The device's own random numbers, apart from the CPU's."""
    _local: threading.local = field(default_factory=threading.local)

    def state(self) -> ThreadState:
        """Return what is known of the calling thread."""
        try:
            state: ThreadState = self._local.state
        except AttributeError:
            state = self._local.state = ThreadState(ThreadId(threading.get_ident()))
        return state

    def now_ns(self) -> int:
        """Return the virtual time of the calling thread."""
        return self.clock.host(self.state().ident)

    @contextlib.contextmanager
    def own_numbers(self) -> Iterator[None]:
        """Put the device's random numbers in the place of the CPU's; most operators take no generator."""
        default = torch.default_generator
        host = default.get_state()
        default.set_state(self.generator.get_state())
        try:
            yield
        finally:
            self.generator.set_state(default.get_state())
            default.set_state(host)

    def kernel(self, state: ThreadState, name: str, duration: int) -> Span:
        """Launch a kernel on the thread's current stream, or put it into the graph that is captured."""
        self.used += 1
        if self.capture is not None:
            self.capture.kernels.append((name, duration))
            now = self.clock.work(state.ident, self.rates.view_ns)
            return Span(now, now)
        stream = state.stream
        span = self.clock.launch(state.ident, stream, self.rates.kernel_launch_ns, duration)
        if self.recorders:
            now = self.clock.host(state.ident)
            call = ("cudaLaunchKernel", now - self.rates.kernel_launch_ns, now)
            for recorder in self.recorders:
                recorder.kernel(name, stream, span[0], span[1], call)
        return span

    def replay(self, capture: Capture) -> None:
        """Launch a captured graph: the host pays for one launch, the kernels follow one another."""
        state = self.state()
        now = self.clock.work(state.ident, self.rates.kernel_launch_ns)
        call = ("cudaGraphLaunch", now - self.rates.kernel_launch_ns, now)
        for name, duration in capture.kernels:
            span = self.clock.launch(state.ident, state.stream, 0, duration)
            for recorder in self.recorders:
                recorder.kernel(name, state.stream, span.start, span.end, call)

    def run(self, state: ThreadState, call: RuntimeCall, op: str) -> None:
        """Do what an operator asks of the runtime: a copy, a wait, or both."""
        frame = user_frame()
        if call.wait is not None:
            self._refuse(call.wait, frame)
        if call.direction is not None:
            self._copy(state, call, op, frame)
        if call.wait is not None:
            self.wait(state, call.wait, op=op, explicit=False, frame=frame, copy=call)

    def wait(
        self,
        state: ThreadState,
        kind: SyncKind,
        *,
        op: str | None,
        explicit: bool,
        stream: StreamId | None = None,
        until: int | None = None,
        frame: FrameType | None = None,
        copy: RuntimeCall | None = None,
    ) -> None:
        """Let the calling thread stand still, and record it.

        Args:
            state: the thread.
            kind: what for.
            op: the operator that waits, or None.
            explicit: whether the user asked for it.
            stream: which stream, if not the current one.
            until: the moment to wait for, if not the end of the stream.
            frame: the line that waits, if it was looked up before.
            copy: the copy that is waited for, if there is one.

        Raises:
            SyncError: if a guard around the running code disallows it.
        """
        self.used += 1
        frame = frame or user_frame()
        direction, size = (None, 0) if copy is None else (copy.direction, copy.size)
        tell(Wait(kind, explicit, op, frame, direction, size))
        where = state.stream if stream is None else stream
        cost = self.rates.sync_return_ns
        if kind is SyncKind.DEVICE:
            span = self.clock.wait_device(state.ident, cost)
        else:
            span = self.clock.wait(state.ident, self.clock.tail(where) if until is None else until, cost)
        for recorder in self.recorders:
            recorder.sync(
                kind,
                explicit=explicit,
                op=op,
                sensor=SENSOR,
                stack=recorder.stack(frame),
                stream=None if kind is SyncKind.DEVICE else where,
                start_ns=span.start,
                end_ns=span.end,
            )

    def refuse_explicit(self, kind: SyncKind) -> None:
        """Refuse a wait that the user asks for where CUDA would: during a capture, or by the debug mode."""
        self._refuse(kind, user_frame())

    def _refuse(self, kind: SyncKind, frame: FrameType | None) -> None:
        if self.capture is not None:
            raise torch.AcceleratorError("CUDA error: operation not permitted when stream is capturing")
        if self.debug_mode is DebugMode.DEFAULT or kind is not SyncKind.STREAM:
            return
        if self.debug_mode is DebugMode.ERROR:
            raise RuntimeError(SYNC_WARNING)
        if frame is not None:
            warnings.warn_explicit(
                SYNC_WARNING,
                UserWarning,
                frame.f_code.co_filename,
                frame.f_lineno,
                registry=frame.f_globals.setdefault("__warningregistry__", {}),
            )

    def _copy(self, state: ThreadState, call: RuntimeCall, op: str, frame: FrameType | None) -> None:
        self.used += 1
        pinned = call.memory is HostMemory.PINNED
        engine = Direction.D2D if call.direction is None else call.direction
        span = self.clock.copy(
            state.ident,
            state.stream,
            engine.value,
            self.rates.copy_launch_ns,
            self.rates.copy_ns(call.size, pinned=pinned),
        )
        now = self.clock.host(state.ident)
        for recorder in self.recorders:
            recorder.copy(
                engine,
                call.memory,
                call.size,
                blocking=call.wait is not None,
                op=op,
                stack=recorder.stack(frame),
                stream=state.stream,
                start_ns=span.start,
                end_ns=span.end,
                called=("cudaMemcpyAsync", now - self.rates.copy_launch_ns, now),
            )


def user_frame() -> FrameType | None:
    """Return the innermost frame that is not the virtual device's own."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_HERE):
        frame = frame.f_back
    return frame
