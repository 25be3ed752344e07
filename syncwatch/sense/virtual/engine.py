"""What has happened on the virtual device so far: one engine a process, with clock, memory and recorders."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import warnings
from array import array
from collections.abc import Iterator, Sequence
from ctypes import c_int64
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from syncwatch.compat.torch_cuda import no_subclass_is_asked
from syncwatch.model.events import Direction, HostMemory, SyncKind
from syncwatch.sense.active import GuardedWait, is_guarded, notify_guard
from syncwatch.sense.recorder import Recorder
from syncwatch.sense.scopes import scope
from syncwatch.sense.virtual.clock.clock import DeviceClock, Span, StreamId
from syncwatch.sense.virtual.clock.memory import DeviceMemory
from syncwatch.sense.virtual.clock.rates import Rates
from syncwatch.sense.virtual.native.library import calls
from syncwatch.sense.virtual.operators.table import RuntimeCall

SENSOR = "virtual"
SYNC_WARNING = "called a synchronizing CUDA operation"
_HERE = str(Path(__file__).parent) + os.sep
_COLUMNS = 6
"""Numbers of one kernel in the native journal; see `Row` in native/journal.h."""


class SyncDebugLevel(IntEnum):
    """What `torch.cuda.set_sync_debug_mode` was set to."""

    DEFAULT = 0
    WARN = 1
    ERROR = 2


@dataclass(frozen=True, slots=True)
class _Kind:
    """What kernels have in common: their name, their stream, and who launches them."""

    name: str
    stream: StreamId
    threads: tuple[int, ...]
    """The number of the launching thread, for each recorder."""


@dataclass(slots=True)
class Engine:
    """The device: what Python does on it goes through here, and what C++ did on it is recorded from here."""

    rates: Rates
    memory: DeviceMemory
    clock: DeviceClock = field(default_factory=DeviceClock)
    recorders: tuple[Recorder, ...] = ()
    active: int = 0
    """How many devices are started."""
    debug_mode: SyncDebugLevel = SyncDebugLevel.DEFAULT
    capturing: bool = False
    """Whether a CUDA graph is being captured: a wait fails then, as it does on CUDA."""
    raised: BaseException | None = None
    """The last error of an answer to the native library, for a call of it that C++ cannot let an error through."""
    notes: set[str] = field(default_factory=set)
    """What a reader of the recording should know, a sentence each."""
    _calls: Any = field(default_factory=calls)
    _kinds: list[_Kind] = field(default_factory=list)
    """By their numbers in the journal, since `record_into`."""
    _epochs: list[tuple[int | None, ...]] = field(default_factory=list)
    """The step of each recorder, by the numbers that the journal has for them."""
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _local: threading.local = field(default_factory=threading.local)

    def __post_init__(self) -> None:
        self.memory.check = self.raise_if

    def raise_if(self, failed: int) -> None:
        """Raise what an answer to the native library raised, where a call of it says that one did.

        Raises:
            BaseException: that error.
        """
        if failed:
            error, self.raised = self.raised, None
            raise error or RuntimeError("the virtual device's library failed")

    def now_ns(self) -> int:
        """Return the virtual time of the calling thread."""
        return self.clock.host()

    @property
    def used(self) -> int:
        """How many kernels, copies and waits there were so far."""
        return int(self._calls.sw_used())

    @property
    def generator(self) -> torch.Generator:
        """The device's own random numbers, apart from the CPU's."""
        generator: torch.Generator = torch.ops.syncwatch.generator()
        return generator

    @contextlib.contextmanager
    def unseen(self) -> Iterator[None]:
        """Let operators of the calling thread compute inside, and record nothing of it."""
        self._calls.sw_pause(1)
        try:
            with no_subclass_is_asked():
                yield
        finally:
            self._calls.sw_pause(-1)

    def pending(self) -> list[Sequence[RuntimeCall]]:
        """Return what operators that run in the calling thread will ask of the runtime, innermost last."""
        try:
            pending: list[Sequence[RuntimeCall]] = self._local.pending
        except AttributeError:
            pending = self._local.pending = []
        return pending

    def record_into(self, recorders: tuple[Recorder, ...]) -> None:
        """Record into `recorders` from now on."""
        with self._lock:
            self.flush()
            for recorder in self.recorders:
                recorder.leave_source(self.flush)
                recorder.step_changed.discard(self.note_step)
            self.recorders = recorders
            self._kinds.clear()
            self._epochs.clear()
            notifies = any(recorder.after is not None for recorder in recorders)
            self._calls.sw_record(bool(recorders), notifies)
            for recorder in recorders:
                recorder.sources.append(self.flush)
                recorder.step_changed.add(self.note_step)
            self.note_step()

    def note_step(self) -> None:
        """Note the steps that the calling thread is in, for the kernels that it launches from now on."""
        with self._lock:
            self._calls.sw_set_common_epoch(self._epoch(tuple(each.measured_step() for each in self.recorders)))
            own = tuple(recorder.step() for recorder in self.recorders) if scope.STEPS.all() else None
            self._calls.sw_set_epoch(-1 if own is None else self._epoch(own))

    def _epoch(self, steps: tuple[int | None, ...]) -> int:
        self._epochs.append(steps)
        return len(self._epochs) - 1

    def new_kind(self, name: str, stream: StreamId) -> int:
        """Return the number of kernels called `name` that the calling thread launches on `stream`."""
        if scope.STEPS.all():
            # A thread that was given the context of another has its steps without having begun one.
            self.note_step()
        with self._lock:
            self._kinds.append(_Kind(name, stream, tuple(recorder.thread() for recorder in self.recorders)))
            return len(self._kinds) - 1

    def flush(self) -> None:
        """Hand the kernels that were launched so far to the recorders."""
        with self._lock:
            count = int(self._calls.sw_rows())
            if not count:
                return
            buffer = (c_int64 * (count * _COLUMNS))()
            self._calls.sw_take(buffer, count)
            rows = array("q")
            rows.frombytes(bytes(buffer))
            for index, recorder in enumerate(self.recorders):
                recorder.kernels_launched(
                    rows,
                    [(kind.name, kind.stream, kind.threads[index]) for kind in self._kinds],
                    [steps[index] for steps in self._epochs],
                )

    def notify_of_a_kernel(self) -> None:
        """Call the recorders that are to know of each kernel at once."""
        for recorder in self.recorders:
            if recorder.after is not None:
                recorder.after(None)

    def kernel(self, name: str, duration: int) -> None:
        """Launch a kernel on the thread's current stream, or put it into the graph that is captured."""
        if self._calls.sw_launch(self._calls.sw_name(name.encode()), duration):
            error, self.raised = self.raised, None
            raise error or RuntimeError(f"the kernel {name} could not be launched")

    def replay(self, kernels: Sequence[tuple[str, int]]) -> None:
        """Launch a captured graph: the host pays for one launch, the kernels follow one another."""
        now = self.clock.work(self.rates.kernel_launch_ns)
        called = ("cudaGraphLaunch", now - self.rates.kernel_launch_ns, now)
        stream = self.clock.stream()
        for name, duration in kernels:
            span = self.clock.launch(stream, 0, duration)
            for recorder in self.recorders:
                recorder.kernel(name, stream, span.start, span.end, called)

    def run(self, call: RuntimeCall, op: str) -> None:
        """Do what an operator asks of the runtime: a copy, a wait, or both."""
        frame = user_frame()
        if call.wait is not None:
            self._refuse(call.wait, frame)
            if call.wait is SyncKind.STREAM and call.direction is not None and not is_guarded():
                self._copy_and_wait(call, call.direction, op, frame)
                return
        stacks = tuple(recorder.stack(frame) for recorder in self.recorders)
        if call.direction is not None:
            self._copy(call, op, stacks)
        if call.wait is not None:
            self.wait(call.wait, op=op, explicit=False, frame=frame, stacks=stacks, copy=call)

    def wait(
        self,
        kind: SyncKind,
        *,
        op: str | None,
        explicit: bool,
        stream: StreamId | None = None,
        until: int | None = None,
        frame: FrameType | None = None,
        stacks: tuple[int, ...] | None = None,
        copy: RuntimeCall | None = None,
    ) -> None:
        """Let the calling thread stand still, and record it.

        Args:
            kind: what for.
            op: the operator that waits, or None.
            explicit: whether the user asked for it.
            stream: which stream, if not the current one.
            until: the moment to wait for, if not the end of the stream.
            frame: the line that waits, if it was looked up before.
            stacks: its stack in each recorder, if it was looked up before.
            copy: the copy that is waited for, if there is one.

        Raises:
            SyncError: if a guard around the running code disallows it.
        """
        frame = frame or user_frame()
        direction, size = (None, 0) if copy is None else (copy.direction, copy.size)
        notify_guard(GuardedWait(kind, explicit, op, frame, direction, size))
        where = self.clock.stream() if stream is None else stream
        cost = self.rates.sync_return_ns
        if kind is SyncKind.DEVICE:
            span = self.clock.wait_device(cost)
        else:
            span = self.clock.wait(self.clock.tail(where) if until is None else until, cost)
        if stacks is None:
            stacks = tuple(recorder.stack(frame) for recorder in self.recorders)
        for recorder, stack in zip(self.recorders, stacks, strict=True):
            recorder.sync(
                kind,
                explicit=explicit,
                op=op,
                sensor=SENSOR,
                stack=stack,
                stream=None if kind is SyncKind.DEVICE else where,
                start_ns=span.start,
                end_ns=span.end,
            )

    def allocator_called(self, kind: SyncKind, api: str | None, stream: StreamId | None, span: Span) -> None:
        """Record a driver call that an allocator made in the calling thread; no guard is called, as on CUDA."""
        frame = user_frame()
        for recorder in self.recorders:
            recorder.sync(
                kind,
                explicit=False,
                op=None,
                sensor=SENSOR,
                stack=recorder.stack(frame),
                stream=stream,
                start_ns=span.start,
                end_ns=span.end,
                api=api,
            )

    def refuse_explicit(self, kind: SyncKind) -> None:
        """Refuse a wait that the user asks for where CUDA would: during a capture, or by the debug mode."""
        self._refuse(kind, user_frame())

    def _refuse(self, kind: SyncKind, frame: FrameType | None) -> None:
        if self.capturing:
            raise torch.AcceleratorError("CUDA error: operation not permitted when stream is capturing")
        if self.debug_mode is SyncDebugLevel.DEFAULT or kind is not SyncKind.STREAM:
            return
        if self.debug_mode is SyncDebugLevel.ERROR:
            raise RuntimeError(SYNC_WARNING)
        if frame is not None:
            warnings.warn_explicit(
                SYNC_WARNING,
                UserWarning,
                frame.f_code.co_filename,
                frame.f_lineno,
                registry=frame.f_globals.setdefault("__warningregistry__", {}),
            )

    def _copy_and_wait(self, call: RuntimeCall, direction: Direction, op: str, frame: FrameType | None) -> None:
        """Do what `_copy` and `wait` do one after the other, for the commonest of waits."""
        rates = self.rates
        duration = rates.copy_ns(call.size, pinned=call.memory is HostMemory.PINNED)
        seen = self.clock.copy_and_wait(direction._value_, rates.copy_launch_ns, duration, rates.sync_return_ns)
        for recorder in self.recorders:
            recorder.waited_copy(
                direction,
                call.memory,
                call.size,
                op=op,
                sensor=SENSOR,
                stack=recorder.stack(frame),
                stream=seen.stream,
                copied=(seen.start, seen.end),
                called=("cudaMemcpyAsync", seen.called, seen.returned),
                waited=(seen.waited_from, seen.waited_until),
            )

    def _copy(self, call: RuntimeCall, op: str, stacks: tuple[int, ...]) -> None:
        pinned = call.memory is HostMemory.PINNED
        direction = Direction.D2D if call.direction is None else call.direction
        stream = self.clock.stream()
        duration = self.rates.copy_ns(call.size, pinned=pinned)
        span = self.clock.copy(stream, direction.value, self.rates.copy_launch_ns, duration)
        now = self.clock.host()
        for recorder, stack in zip(self.recorders, stacks, strict=True):
            recorder.copy(
                direction,
                call.memory,
                call.size,
                blocking=call.wait is not None,
                op=op,
                stack=stack,
                stream=stream,
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
