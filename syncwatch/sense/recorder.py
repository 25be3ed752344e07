"""The recorder that sensors put what they saw into: one gathers the events of one variant."""

from __future__ import annotations

import os
import sys
import threading
from array import array
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import CodeType, FrameType

from syncwatch.model.compact import CompactCopies, CompactKernels, CompactSyncs
from syncwatch.model.events import BUILD_RANGE, Call, Direction, HostMemory, RangeEvent, Step, SyncEvent, SyncKind
from syncwatch.model.session import Coverage, Recording
from syncwatch.sense.processes.forks import on_gpu_work
from syncwatch.sense.scopes import scope
from syncwatch.sense.scopes.open_steps import OpenStep, step_of_thread
from syncwatch.sense.stacks import StackTable, native_name, thread_name


@dataclass(slots=True)
class Recorder:
    """Gathers events from any thread; `freeze` makes the recording.

    Adding an event is atomic under the GIL, so that sensors take a lock only for what was never there before: a thread,
    a stack, or an event unlike all others.
    """

    now_ns: Callable[[], int]
    """The clock of this recording: epoch time on CUDA, the virtual clock on the virtual device."""
    syncs: CompactSyncs = field(default_factory=CompactSyncs)
    copies: CompactCopies = field(default_factory=CompactCopies)
    _kernels: CompactKernels = field(default_factory=CompactKernels)
    ranges: list[RangeEvent] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    steps_begun: int = 0
    """How many steps have begun so far."""
    open_steps: list[OpenStep] = field(default_factory=list)
    """The steps that have begun and not ended; threads of no step of their own, such as autograd's, work for one."""
    open_ranges: dict[scope.OpenRange, tuple[int, int]] = field(default_factory=dict)
    """The ranges that were entered and not left so far, with their thread and begin."""
    sources: list[Callable[[], None]] = field(default_factory=list)
    """What turns notes into events, of sensors that only note while the run goes on."""
    step_changed: set[Callable[[], None]] = field(default_factory=set)
    """Told when a step begins or ends in the calling thread."""
    built_ns: dict[int, int] = field(default_factory=dict)
    """Host time spent building metadata, by step."""
    after: Callable[[SyncEvent | None], None] | None = None
    """Told instead of this recorder of what happens when the recording has ended, or in the child of a fork: of a wait,
    or None for other work."""
    owner: int = field(default_factory=os.getpid)
    """The process that reads what is recorded."""
    pacing: bool = False
    """Set by the runner around its own waits."""
    _stacks: StackTable = field(default_factory=StackTable)
    _threads: dict[int, int] = field(default_factory=dict)
    _thread_names: list[str] = field(default_factory=list)
    native_threads: dict[int, int] = field(default_factory=dict)
    """System thread id to thread number, to join with what CUPTI saw; not saved."""
    _range_stacks: dict[tuple[str, ...], int] = field(default_factory=dict)
    _lock: AbstractContextManager[object] = field(default_factory=threading.RLock)
    """Taken again by its own thread where Python collects garbage inside, which may free memory of the GPU."""

    @property
    def kernels(self) -> CompactKernels:
        """The kernels so far."""
        self.flush()
        return self._kernels

    def begin_step(self) -> int:
        """Return the number of a step that begins now."""
        with self._lock:
            self.steps_begun += 1
            return self.steps_begun - 1

    def end_step(self, number: int, span: tuple[int, int], *, warmup: bool, before_ns: int) -> None:
        """Record that the step `number` has ended; steps need not end in the order in which they began.

        Args:
            number: as `begin_step` gave it.
            span: when the program's own part of it began and ended.
            warmup: whether it is left out of the figures.
            before_ns: what it took to begin it.
        """
        with self._lock:
            self.open_steps = [each for each in self.open_steps if each.number != number]
        start, end = span
        self.steps.append(Step(number, warmup, start, end, before_ns, max(0, self.now_ns() - end)))

    def step(self) -> int | None:
        """Return the step that the calling thread or task is in."""
        for block in reversed(scope.STEPS.entered()):
            for recorder, number in block.value:
                if recorder is self and block.holds():
                    return number
        return step_of_thread(self.open_steps) if self.open_steps else None

    def measured_step(self) -> int | None:
        """Return the step that threads of no step of their own work for."""
        return next((each.number for each in reversed(self.open_steps) if not each.warmup), None)

    def within(self) -> int | None:
        """Return the number of the stack of ranges that the calling thread or task is in; None outside every range."""
        names = scope.ranges()
        known = self._range_stacks.get(names) if names else None
        if known is not None or not names:
            return known
        with self._lock:
            return self._range_stacks.setdefault(names, len(self._range_stacks))

    def range_begins(self, entered: scope.OpenRange) -> None:
        """Note that the calling thread entered a range."""
        self.open_ranges[entered] = self.thread(), self.now_ns()

    def range_ends(self, entered: scope.OpenRange) -> None:
        """Record a range that was entered, in whichever thread it ends."""
        begun = self.open_ranges.pop(entered, None)
        if begun is None:
            return
        thread, start = begun
        # The virtual device has a clock for each thread.
        end = max(start, self.now_ns())
        self.ranges.append(RangeEvent(thread, entered.name, start, end))
        number = self.step() if entered.name == BUILD_RANGE else None
        if number is not None:
            self.built_ns[number] = self.built_ns.get(number, 0) + end - start

    def every_range(self) -> tuple[RangeEvent, ...]:
        """Return the ranges so far; those that nobody has left last until now."""
        now = self.now_ns() if self.open_ranges else 0
        begun = list(self.open_ranges.items())
        unended = (RangeEvent(thread, each.name, start, max(start, now)) for each, (thread, start) in begun)
        return (*self.ranges, *unended)

    def stack(self, frame: FrameType | None = None) -> int:
        """Return the id of the caller's stack, or of the stack that ends in `frame`."""
        frame = frame if frame is not None else sys._getframe(1)
        return self._stacks.intern(frame)

    def innermost(self, stack: int) -> tuple[CodeType, int]:
        """Return the code of the innermost frame of a stack, and its instruction there."""
        return self._stacks.innermost(stack)

    def thread(self) -> int:
        """Return the small number of the calling thread."""
        ident = threading.get_ident()
        known = self._threads.get(ident)
        if known is not None:
            return known
        with self._lock:
            self._thread_names.append(thread_name())
            number = self._threads[ident] = len(self._thread_names) - 1
            self.native_threads[threading.get_native_id()] = number
            return number

    def native_thread(self, tid: int) -> int:
        """Return the number of the thread that the system calls `tid`, also of one that never ran Python."""
        known = self.native_threads.get(tid)
        if known is not None:
            return known
        with self._lock:
            self._thread_names.append(native_name(tid) or f"thread {tid}")
            return self.native_threads.setdefault(tid, len(self._thread_names) - 1)

    def thread_called(self, name: str) -> int:
        """Return the number of a thread that is known by what it does alone, and has no system id."""
        with self._lock:
            if name not in self._thread_names:
                self._thread_names.append(name)
                self.native_threads[-len(self._thread_names)] = len(self._thread_names) - 1
        return self._thread_names.index(name)

    def sync(
        self,
        kind: SyncKind,
        *,
        explicit: bool,
        op: str | None,
        sensor: str,
        stack: int | None,
        stream: int | None = None,
        start_ns: int | None = None,
        end_ns: int | None = None,
        api: str | None = None,
        thread: int | None = None,
    ) -> None:
        """Record that the calling thread waited, or `thread` in its place."""
        number = self.thread() if thread is None else thread
        if os.getpid() != self.owner and self.after is None:
            # C forked, and Python was not told.
            self.after = on_gpu_work
        if self.after is not None:
            self.after(
                SyncEvent(
                    step=self.step(),
                    thread=number,
                    kind=kind,
                    explicit=explicit,
                    op=op,
                    stack=stack,
                    stream=stream,
                    start_ns=start_ns,
                    end_ns=end_ns,
                    pacing=self.pacing,
                    seen_by=(sensor,),
                    api=api,
                    within=self.within(),
                    allowed=scope.allowed(),
                )
            )
            return
        shared = (
            number,
            explicit,
            op,
            stack,
            stream,
            self.pacing,
            (sensor,),
            api,
            self.within(),
            scope.allowed(),
            0,
        )
        self.syncs.add(self.step(), start_ns, end_ns, kind, shared)

    def surroundings(self) -> tuple[int | None, int, bool, int | None, str | None]:
        """Return step, thread, pacing, range stack and permission of the calling thread or task."""
        # What code entered is asked for here, since nothing is mostly the answer: a read has 4 us in all.
        step = self.step() if self.open_steps or scope.STEPS.entered() else None
        within = self.within() if scope.entered_ranges() else None
        allowed = scope.allowed() if scope.ALLOWED.entered() else None
        return step, self.thread(), self.pacing, within, allowed

    def flush(self) -> None:
        """Let the sensors that note now and record later record."""
        for source in self.sources:
            source()

    def leave_source(self, source: Callable[[], None]) -> None:
        """Ask `source` for nothing more."""
        if source in self.sources:
            self.sources.remove(source)

    def copy(
        self,
        direction: Direction,
        memory: HostMemory | None,
        size: int,
        *,
        blocking: bool | None,
        op: str | None,
        stack: int | None,
        stream: int | None = None,
        start_ns: int | None = None,
        end_ns: int | None = None,
        called: tuple[str, int, int] | None = None,
    ) -> None:
        """Record a copy of `size` bytes that the calling thread asked for, by the runtime call `called`."""
        if self.after is not None:
            self.after(None)
            return
        thread = self.thread()
        self.copies.add(
            self.step(),
            size,
            start_ns,
            end_ns,
            None if called is None else Call(thread, *called),
            (direction, memory),
            (thread, blocking, op, stack, stream, 0),
        )

    def waited_copy(
        self,
        direction: Direction,
        memory: HostMemory | None,
        size: int,
        *,
        op: str | None,
        sensor: str,
        stack: int | None,
        stream: int,
        copied: tuple[int, int],
        called: tuple[str, int, int],
        waited: tuple[int, int],
    ) -> None:
        """Record what `copy` and `sync` would of a copy that the calling thread waited for on its stream.

        The pairs are begin and end in ns. Half the time of the two is spent on what they find out twice.
        """
        if self.after is not None or os.getpid() != self.owner:
            self.copy(
                direction,
                memory,
                size,
                blocking=True,
                op=op,
                stack=stack,
                stream=stream,
                start_ns=copied[0],
                end_ns=copied[1],
                called=called,
            )
            self.sync(
                SyncKind.STREAM,
                explicit=False,
                op=op,
                sensor=sensor,
                stack=stack,
                stream=stream,
                start_ns=waited[0],
                end_ns=waited[1],
            )
            return
        step, thread, pacing, within, allowed = self.surroundings()
        self.copies.add(
            step, size, *copied, Call(thread, *called), (direction, memory), (thread, True, op, stack, stream, 0)
        )
        shared = (thread, False, op, stack, stream, pacing, (sensor,), None, within, allowed, 0)
        self.syncs.add(step, *waited, SyncKind.STREAM, shared)

    def kernel(self, name: str, stream: int, start_ns: int, end_ns: int, called: tuple[str, int, int]) -> None:
        """Record a kernel that ran from `start_ns` to `end_ns` on `stream`.

        Args:
            name: its own.
            stream: the number of the stream.
            start_ns: when it began.
            end_ns: when it ended.
            called: name, begin and end of the runtime call that launched it.
        """
        if self.after is not None:
            self.after(None)
            return
        self._kernels.add(self.step(), stream, name, start_ns, end_ns, self.thread(), called)

    def kernels_launched(
        self, rows: array[int], kinds: Sequence[tuple[str, int, int]], steps: Sequence[int | None]
    ) -> None:
        """Record many kernels at once.

        Args:
            rows: six numbers for each: its kind, its step by number, when it began and ended, and when the runtime
                call that launched it began and ended; all times in ns.
            kinds: name, stream and thread of each kind.
            steps: the step of each number; -1 stands for none.
        """
        shared = [(stream, name, 0, None, thread, "cudaLaunchKernel") for name, stream, thread in kinds]
        self._kernels.extend(array("q", rows), shared, steps)

    def freeze(
        self,
        variant: str,
        coverage: Coverage,
        *,
        modelled: bool,
        rounds_ns: tuple[tuple[int, ...], ...] = (),
        has_copies: bool = True,
        has_kernels: bool = True,
        used_gpu: bool | None = None,
        notes: tuple[str, ...] = (),
    ) -> Recording:
        """Return everything recorded so far as one immutable recording.

        Args:
            variant: the name of what ran.
            coverage: what was watched.
            modelled: whether the times come from the virtual clock.
            rounds_ns: honest step times, a tuple for each round.
            has_copies: whether copies were recorded at all; if not they become None, not empty.
            has_kernels: whether kernels were recorded at all.
            used_gpu: whether the device had anything to do; None where that is not known.
            notes: what a reader should know.
        """
        self.flush()
        frames, stacks = self._stacks.freeze()
        return Recording(
            variant=variant,
            steps=tuple(sorted(self.steps, key=lambda step: step.index)),
            rounds_ns=rounds_ns,
            modelled=modelled,
            threads=tuple(self._thread_names),
            frames=frames,
            stacks=stacks,
            # Waits are few beside the rest, and what is found out about each is kept by its identity.
            syncs=tuple(self.syncs),
            copies=self.copies.frozen() if has_copies else None,
            kernels=self.kernels.frozen() if has_kernels else None,
            ranges=self.every_range(),
            coverage=coverage,
            notes=notes,
            used_gpu=used_gpu,
            range_stacks=tuple(self._range_stacks),
            host_build_ns=tuple(self.built_ns.get(step.index, 0) for step in self.steps if not step.warmup)
            if self.built_ns
            else (),
        )
