"""Gives each wait that the hooks heard of its time, and each CUPTI row its line, in two passes over the same steps.

They are joined in order. What both kinds of join need is here too; `join_run` joins hooks and rows of one run.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from syncwatch.model.events import (
    STEP_RANGE,
    Call,
    CopyEvent,
    Direction,
    KernelEvent,
    RangeEvent,
    Step,
    SyncEvent,
    SyncKind,
)
from syncwatch.sense.cuda.runtime_trace import RuntimeTrace
from syncwatch.sense.cuda.thread_map import ThreadMap
from syncwatch.traces.copy_waits import TraceCopy, TraceWait
from syncwatch.traces.nesting import StepClock
from syncwatch.traces.process import Operator

_Key = tuple["int | None", int, SyncKind]
"""A step, a thread, and COPY or ALLOCATION for waits inside such calls, which other hooks see; STREAM for the rest."""


@dataclass(frozen=True, slots=True)
class Joined:
    """Lines from the hooks, times from CUPTI."""

    steps: tuple[Step, ...]
    syncs: tuple[SyncEvent, ...]
    copies: tuple[CopyEvent, ...]
    kernels: tuple[KernelEvent, ...]
    threads: tuple[str, ...]
    seen: int
    """Synchronizations that CUPTI recorded, the runner's own waits left out."""
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HookedWaits:
    """What the hooks saw, in order."""

    syncs: Sequence[SyncEvent]
    copies: Sequence[CopyEvent]
    """Copy calls with their lines; empty where no sensor hooks them."""
    steps: Sequence[Step]
    threads: Sequence[str]
    native_threads: Mapping[int, int]
    """System thread id to the number of the thread."""
    complete: bool = True
    """Whether the hooks hear of every wait, so that a row more is another run's and not one that they missed."""


def join(hooked: HookedWaits, trace: RuntimeTrace) -> Joined:
    """Join two passes over the same steps.

    The two are matched in order within one step and thread, waits inside copy calls and allocator calls apart from the
    others. Where their kinds differ the join is not certain: the lines are kept without a time, and a note says so.
    """
    threads = ThreadMap(hooked.threads, hooked.native_threads, trace)
    steps = _steps(hooked.steps, trace.steps)
    clock = StepClock(steps)
    copies = CopyLines(hooked.copies, trace.copies, clock, threads)
    rows = _by_key(trace.waits, clock, threads)
    events = _events_by_key(hooked.syncs)
    syncs: list[SyncEvent] = []
    notes: list[str] = []
    for key in sorted(events.keys() | rows.keys(), key=lambda key: (key[0] is None, key[0] or 0, key[1], key[2].value)):
        found, found_rows = events.get(key, []), rows.get(key, [])
        if [event.kind for event in found] == [row.kind for row in found_rows]:
            merged = [timed(event, row) for event, row in zip(found, found_rows, strict=True)]
        elif not found or all(copies.knows(row) for row in found_rows):
            merged = [without_hook(key, row, copies.line_of(row)) for row in found_rows]
        else:
            merged = [replace(event, start_ns=None, end_ns=None) for event in found]
            if not hooked.complete:
                # Which of the rows the hooks missed is not known; that they were there is.
                merged += [_untimed(without_hook(key, row, None)) for row in found_rows[len(found) :]]
            notes.append(_mismatch(key, len(found), len(found_rows)))
        if len(merged) == len(found_rows):
            copies.lend(merged, found_rows)
        syncs += merged
    return Joined(
        steps=steps,
        syncs=tuple(syncs),
        copies=copies.events(),
        kernels=tuple(placed(kernel, clock, threads) for kernel in trace.kernels),
        threads=threads.names(),
        seen=seen_in(trace),
        notes=(*trace.notes, *notes),
    )


def seen_in(trace: RuntimeTrace) -> int:
    """Return how many synchronizations CUPTI recorded, the runner's own waits left out."""
    return sum(not row.pacing and row.kind is not SyncKind.ALLOCATION for row in trace.waits)


class CopyLines:
    """The copies of the trace, each with the line of the hooked copy call of the same place in the order.

    Where a thread's copies of a step differ in number, way or size, a copy gets the line of the wait of its operator.
    """

    def __init__(
        self, hooked: Sequence[CopyEvent], copies: Sequence[TraceCopy], clock: StepClock, threads: ThreadMap
    ) -> None:
        self._copies = [(copy, copy.event.call) for copy in copies if copy.event.call is not None]
        self._clock = clock
        self._threads = threads
        self._hooked: dict[tuple[int, int], CopyEvent] = {}
        """By thread and begin of the recorded call."""
        self._by_operator: dict[tuple[int, int], int | None] = {}
        heard: dict[tuple[int | None, int], list[CopyEvent]] = defaultdict(list)
        for event in hooked:
            heard[event.step, event.thread].append(event)
        recorded: dict[tuple[int | None, int], list[tuple[CopyEvent, Call]]] = defaultdict(list)
        for copy, call in self._copies:
            if copy.event.direction is not Direction.D2D:
                recorded[clock.at(call.start_ns), threads.number(call.thread)].append((copy.event, call))
        for key, found in recorded.items():
            events = heard.get(key, [])
            if [(each.direction, each.bytes) for each in events] == [(each.direction, each.bytes) for each, _ in found]:
                self._hooked.update(
                    ((call.thread, call.start_ns), event) for event, (_, call) in zip(events, found, strict=True)
                )

    def knows(self, wait: TraceWait) -> bool:
        """Return whether `wait` is one inside a copy call whose line is known."""
        return self.line_of(wait) is not None

    def line_of(self, wait: TraceWait) -> CopyEvent | None:
        """Return the hooked call behind `wait`, if it is one inside a copy call."""
        return self._hooked.get((wait.thread, wait.call_ns)) if wait.kind is SyncKind.COPY else None

    def lend(self, events: Iterable[SyncEvent], waits: Iterable[TraceWait]) -> None:
        """Note the lines of waits, for the copies of the same operators."""
        for event, wait in zip(events, waits, strict=True):
            if wait.operator is not None:
                self._by_operator[wait.thread, wait.operator.start_ns] = event.stack

    def lent(self, thread: int, operator: Operator | None) -> int | None:
        """Return the line of another wait in `operator`."""
        return None if operator is None else self._by_operator.get((thread, operator.start_ns))

    def events(self) -> tuple[CopyEvent, ...]:
        """Return every copy."""
        return tuple(self._event(copy, call) for copy, call in self._copies)

    def _event(self, copy: TraceCopy, call: Call) -> CopyEvent:
        hooked = self._hooked.get((call.thread, call.start_ns))
        stack = hooked.stack if hooked is not None else None
        return replace(
            copy.event,
            step=self._clock.at(call.start_ns),
            thread=self._threads.number(call.thread),
            blocking=copy.blocking,
            op=_name(copy.operator),
            stack=self.lent(call.thread, copy.operator) if stack is None else stack,
            call=_numbered(call, self._threads),
        )


def _number(step: RangeEvent) -> int:
    return int(step.name.removeprefix(STEP_RANGE))


def group_of(kind: SyncKind) -> SyncKind:
    """Return COPY or ALLOCATION for a wait inside such a call, which other hooks see; STREAM for the rest."""
    return kind if kind in (SyncKind.COPY, SyncKind.ALLOCATION) else SyncKind.STREAM


def _by_key(waits: Iterable[TraceWait], clock: StepClock, threads: ThreadMap) -> dict[_Key, list[TraceWait]]:
    found: dict[_Key, list[TraceWait]] = defaultdict(list)
    for wait in waits:
        found[clock.at(wait.call_ns), threads.number(wait.thread), group_of(wait.kind)].append(wait)
    return found


def _events_by_key(events: Iterable[SyncEvent]) -> dict[_Key, list[SyncEvent]]:
    found: dict[_Key, list[SyncEvent]] = defaultdict(list)
    for event in events:
        found[event.step, event.thread, group_of(event.kind)].append(event)
    return found


def timed(event: SyncEvent, wait: TraceWait) -> SyncEvent:
    """Return `event` with what the trace knows of it."""
    return replace(
        event,
        kind=wait.kind,
        op=_name(wait.operator),
        api=wait.api,
        stream=wait.stream,
        start_ns=wait.start_ns,
        end_ns=wait.end_ns,
        seen_by=(*event.seen_by, "cupti"),
        device=wait.device,
    )


def without_hook(key: _Key, wait: TraceWait, copy: CopyEvent | None) -> SyncEvent:
    """Return a synchronization that no hook saw as one: a library under torch, or a copy call that held the host."""
    return SyncEvent(
        step=key[0],
        thread=key[1],
        kind=wait.kind,
        explicit=False,
        op=_name(wait.operator),
        stack=None if copy is None else copy.stack,
        stream=wait.stream,
        start_ns=wait.start_ns,
        end_ns=wait.end_ns,
        pacing=wait.pacing,
        seen_by=("cupti",) if copy is None else ("runtime_calls", "cupti"),
        api=wait.api,
        device=wait.device,
    )


def _untimed(event: SyncEvent) -> SyncEvent:
    return replace(event, start_ns=None, end_ns=None)


def _mismatch(key: _Key, hooks: int, cupti: int) -> str:
    where = "outside the steps" if key[0] is None else f"in step {key[0]}"
    what = "allocator calls" if key[2] is SyncKind.ALLOCATION else "synchronizations"
    return f"The hooks saw {hooks} {what} {where}, CUPTI {cupti}: they cannot be joined, so no price is given."


def placed(kernel: KernelEvent, clock: StepClock, threads: ThreadMap) -> KernelEvent:
    """Return `kernel` in the step that launched it, with the thread as the hooks number it."""
    assert kernel.call is not None
    return KernelEvent(
        step=clock.at(kernel.call.start_ns),
        stream=kernel.stream,
        name=kernel.name,
        start_ns=kernel.start_ns,
        end_ns=kernel.end_ns,
        call=_numbered(kernel.call, threads),
        device=kernel.device,
        memset_bytes=kernel.memset_bytes,
    )


def _numbered(call: Call, threads: ThreadMap) -> Call:
    return Call(threads.number(call.thread), call.name, call.start_ns, call.end_ns)


def _name(operator: Operator | None) -> str | None:
    return None if operator is None else operator.name


def _steps(steps: Sequence[Step], spans: Sequence[RangeEvent]) -> tuple[Step, ...]:
    warm = {step.index for step in steps if step.warmup}
    return tuple(Step(_number(span), _number(span) in warm, span.start_ns, span.end_ns) for span in spans)
