"""A host and a GPU of our own that run small programs, with and without their waits: what a replay is held against.

It is written another way than the replay: each program is run from its beginning, with the waits of a line or without
them, and what a step takes is read off the clock.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from syncwatch.model.events import (
    Call,
    CopyEvent,
    Direction,
    EventCall,
    HostMemory,
    KernelEvent,
    Step,
    SyncEvent,
    SyncKind,
)
from syncwatch.model.session import Recording
from tests.helpers.fakes import Stacks, frame, recording

LAUNCH, LATENCY, GAP, COPY_CALL, COPY, WAIT_CALL, WAKE = 4_000, 6_000, 1_000, 3_000, 2_000, 1_500, 5_000
"""What the machine takes, in ns."""


@dataclass(frozen=True, slots=True)
class Work:
    """The host computes."""

    ns: int


@dataclass(frozen=True, slots=True)
class Launch:
    """A kernel."""

    ns: int
    stream: int = 7


@dataclass(frozen=True, slots=True)
class Read:
    """A copy to the host and the wait for its stream, on a line of its own."""

    line: int
    stream: int = 7


@dataclass(frozen=True, slots=True)
class Sync:
    """The host waits for a stream, or for all of them, on a line of its own."""

    line: int
    stream: int | None = 7


@dataclass(frozen=True, slots=True)
class Record:
    """A stream records an event."""

    event: int
    stream: int = 7


@dataclass(frozen=True, slots=True)
class StreamWait:
    """A stream waits for an event."""

    event: int
    stream: int


@dataclass(frozen=True, slots=True)
class EventSync:
    """The host waits for an event, on a line of its own."""

    event: int
    line: int


Op = Work | Launch | Read | Sync | Record | StreamWait | EventSync


@dataclass(slots=True)
class Machine:
    """One host thread, and streams that work side by side."""

    without: Collection[int] = ()
    """Lines whose waits are gone."""
    watching: int = 0
    """What it takes to look up the line of a call, in ns."""
    now: int = 0
    step: int = 0
    free: dict[int, int] = field(default_factory=dict)
    marks: dict[int, int] = field(default_factory=dict)
    holds: dict[int, int] = field(default_factory=dict)
    syncs: list[SyncEvent] = field(default_factory=list)
    copies: list[CopyEvent] = field(default_factory=list)
    kernels: list[KernelEvent] = field(default_factory=list)
    events: list[EventCall] = field(default_factory=list)

    def run(self, op: Op) -> None:
        """Do one thing."""
        if isinstance(op, Work):
            self.now += op.ns
        elif isinstance(op, Launch):
            call = Call(0, "cudaLaunchKernel", self.now, self.now + LAUNCH)
            start, end = self._queue(op.stream, op.ns)
            self.now += LAUNCH
            self.kernels.append(KernelEvent(self.step, op.stream, "gemm", start, end, call))
        elif isinstance(op, Record):
            self.marks[op.event] = self.free.get(op.stream, 0)
            self.events.append(EventCall(op.event, op.stream, False, 0, self.now))
        elif isinstance(op, StreamWait):
            self.holds[op.stream] = max(self.holds.get(op.stream, 0), self.marks.get(op.event, 0))
            self.events.append(EventCall(op.event, op.stream, True, 0, self.now))
        elif op.line not in self.without:
            self._wait(op)

    def _queue(self, stream: int, length: int) -> tuple[int, int]:
        held = self.holds.pop(stream, None)
        start = self.now + LATENCY
        if stream in self.free:
            start = max(start, self.free[stream] + GAP)
        if held is not None:
            start = max(start, held + GAP)
        self.free[stream] = start + length
        return start, start + length

    def _wait(self, op: Read | Sync | EventSync) -> None:
        begin = self.now
        stream: int | None = None
        event: int | None = None
        if isinstance(op, Read):
            call = Call(0, "cudaMemcpyAsync", begin, begin + COPY_CALL, self.watching)
            start, end = self._queue(op.stream, COPY)
            self.now += COPY_CALL
            stack = op.line
            self.copies.append(
                CopyEvent(
                    *(self.step, 0, Direction.D2H, HostMemory.PINNED, 4, True, None, stack, op.stream, start, end),
                    call=call,
                )
            )
            self.now += self.watching
            until = end
            kind, stream = SyncKind.STREAM, op.stream
            # As the sensor says it: the look between the copy and the wait is no part of it once the GPU is done.
            begin += max(0, self.now - max(until, call.end_ns))
        elif isinstance(op, Sync):
            until = max(self.free.values(), default=0) if op.stream is None else self.free.get(op.stream, 0)
            kind, stream = SyncKind.DEVICE if op.stream is None else SyncKind.STREAM, op.stream
        else:
            until = self.marks.get(op.event, 0)
            kind, event = SyncKind.EVENT, op.event
        self.now = max(self.now + WAIT_CALL, until + WAKE if until > self.now else 0)
        self.syncs.append(
            SyncEvent(
                *(self.step, 0, kind, False, None, op.line, stream, begin, self.now, False, ("cupti",)),
                event=event,
                watch_ns=self.watching,
            )
        )
        self.now += self.watching


def run(
    program: Sequence[Sequence[Op]], without: Collection[int] = (), *, watching: int = 0
) -> tuple[Recording, float]:
    """Run the steps of `program`, each a list of what it does.

    Returns:
        What was recorded, and the ns that a step took from the begin of the first to when all work was done.
    """
    machine, steps = Machine(without, watching), []
    stacks = Stacks()
    for line in range(100):
        stacks.add(frame(f"wait_{line}()", line=line + 1))
    for number, ops in enumerate(program):
        machine.step, begin = number, machine.now
        for op in ops:
            machine.run(op)
        steps.append(Step(number, False, begin, machine.now))
    known = recording(syncs=machine.syncs, copies=machine.copies, kernels=machine.kernels, steps=steps, stacks=stacks)
    end = max([machine.now, *machine.free.values()])
    return replace(known, event_calls=tuple(machine.events)), (end - steps[0].start_ns) / len(steps)
