"""Gives each wait that the hooks heard of its time, and each CUPTI row its line, in two passes over the same steps.

They are joined in order. What both kinds of join need is here too; `join_run` joins hooks and rows of one run.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from syncwatch.model.events import Call, CopyEvent, Direction, KernelEvent, Step, SyncEvent, SyncKind
from syncwatch.model.names import STEP_RANGE
from syncwatch.sense.runtime_trace import CopyCall, KernelRun, RuntimeTrace, Span, SyncCall
from syncwatch.sense.thread_map import ThreadMap

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
class Hooked:
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


def join(hooked: Hooked, trace: RuntimeTrace) -> Joined:
    """Join two passes over the same steps.

    The two are matched in order within one step and thread, waits inside copy calls and allocator calls apart from the
    others. Where their kinds differ the join is not certain: the lines are kept without a time, and a note says so.
    """
    threads = ThreadMap(hooked.threads, hooked.native_threads, trace)
    clock = StepClock((_number(span), span.start_ns, span.end_ns) for span in trace.steps)
    copies = Copies(hooked.copies, trace.copies, clock, threads)
    rows = _by_key(trace.syncs, clock, threads)
    events = _events_by_key(hooked.syncs)
    syncs: list[SyncEvent] = []
    notes: list[str] = []
    for key in sorted(events.keys() | rows.keys(), key=lambda key: (key[0] is None, key[0] or 0, key[1], key[2].value)):
        found, found_rows = events.get(key, []), rows.get(key, [])
        if [event.kind for event in found] == [row.kind for row in found_rows]:
            merged = [timed(event, row) for event, row in zip(found, found_rows, strict=True)]
        elif not found or all(copies.knows(row) for row in found_rows):
            merged = [unhooked(key, row, copies.line_of(row)) for row in found_rows]
        else:
            merged = [replace(event, start_ns=None, end_ns=None) for event in found]
            if not hooked.complete:
                # Which of the rows the hooks missed is not known; that they were there is.
                merged += [_untimed(unhooked(key, row, None)) for row in found_rows[len(found) :]]
            notes.append(_mismatch(key, len(found), len(found_rows)))
        if len(merged) == len(found_rows):
            copies.lend(merged, found_rows)
        syncs += merged
    return Joined(
        steps=_steps(hooked.steps, trace.steps),
        syncs=tuple(syncs),
        copies=copies.events(),
        kernels=tuple(kernel_of(run, clock, threads) for run in trace.kernels),
        threads=threads.names(),
        seen=seen_in(trace),
        notes=tuple(notes),
    )


def seen_in(trace: RuntimeTrace) -> int:
    """Return how many synchronizations CUPTI recorded, the runner's own waits left out."""
    return sum(not row.pacing and row.kind is not SyncKind.ALLOCATION for row in trace.syncs)


class StepClock:
    """Tells which step a host moment lies in."""

    def __init__(self, steps: Iterable[tuple[int, int, int]]) -> None:
        """Take the index, begin and end of each step."""
        self._steps = sorted(steps, key=lambda step: step[1])
        self._starts = [start for _, start, _ in self._steps]

    def step_at(self, moment: int) -> int | None:
        """Return the index of the step that `moment`, in epoch ns, lies in."""
        at = bisect_right(self._starts, moment) - 1
        if at < 0 or self._steps[at][2] < moment:
            return None
        return self._steps[at][0]


class Copies:
    """The copies of the trace, each with the line of the hooked copy call of the same place in the order.

    Where a thread's copies of a step differ in number, way or size, a copy gets the line of the wait of its operator.
    """

    def __init__(
        self, hooked: Sequence[CopyEvent], calls: Sequence[CopyCall], clock: StepClock, threads: ThreadMap
    ) -> None:
        self._calls = calls
        self._clock = clock
        self._threads = threads
        self._events: dict[Span, CopyEvent] = {}
        self._by_op: dict[tuple[int, int], int | None] = {}
        known: dict[tuple[int | None, int], list[CopyEvent]] = defaultdict(list)
        for event in hooked:
            known[event.step, event.thread].append(event)
        timed: dict[tuple[int | None, int], list[CopyCall]] = defaultdict(list)
        for call in calls:
            if call.direction is not Direction.D2D:
                timed[clock.step_at(call.call.start_ns), threads.number(call.call.tid)].append(call)
        for key, found in timed.items():
            events = known.get(key, [])
            if [(event.direction, event.bytes) for event in events] == [(call.direction, call.bytes) for call in found]:
                self._events.update((call.call, event) for event, call in zip(events, found, strict=True))

    def knows(self, row: SyncCall) -> bool:
        """Return whether `row` is a wait inside a copy call whose line is known."""
        return row.kind is SyncKind.COPY and row.call in self._events

    def line_of(self, row: SyncCall) -> CopyEvent | None:
        """Return the hooked call behind the wait `row`, if it is one inside a copy call."""
        return self._events.get(row.call) if row.kind is SyncKind.COPY else None

    def lend(self, events: Iterable[SyncEvent], rows: Iterable[SyncCall]) -> None:
        """Note the lines of waits, for the copies of the same operators."""
        self._by_op.update((_op_key(row), event.stack) for event, row in zip(events, rows, strict=True))

    def lent(self, row: SyncCall) -> int | None:
        """Return the line of another wait in the operator of `row`."""
        return None if row.op_start_ns is None else self._by_op.get(_op_key(row))

    def events(self) -> tuple[CopyEvent, ...]:
        """Return every copy."""
        return tuple(self._event(call) for call in self._calls)

    def _event(self, call: CopyCall) -> CopyEvent:
        hooked = self._events.get(call.call)
        stack = hooked.stack if hooked is not None else None
        if stack is None and call.op_start_ns is not None:
            stack = self._by_op.get(_op_key(call))
        return CopyEvent(
            step=self._clock.step_at(call.call.start_ns),
            thread=self._threads.number(call.call.tid),
            direction=call.direction,
            memory=call.memory,
            bytes=call.bytes,
            blocking=call.blocking,
            op=call.op,
            stack=stack,
            stream=call.stream,
            start_ns=call.start_ns,
            end_ns=call.end_ns,
            call=_call(call.call, self._threads),
            device=call.device,
        )


def _number(span: Span) -> int:
    return int(span.name.removeprefix(STEP_RANGE))


def group_of(kind: SyncKind) -> SyncKind:
    """Return COPY or ALLOCATION for a wait inside such a call, which other hooks see; STREAM for the rest."""
    return kind if kind in (SyncKind.COPY, SyncKind.ALLOCATION) else SyncKind.STREAM


def _by_key(rows: Iterable[SyncCall], clock: StepClock, threads: ThreadMap) -> dict[_Key, list[SyncCall]]:
    found: dict[_Key, list[SyncCall]] = defaultdict(list)
    for row in rows:
        found[clock.step_at(row.call.start_ns), threads.number(row.call.tid), group_of(row.kind)].append(row)
    return found


def _events_by_key(events: Iterable[SyncEvent]) -> dict[_Key, list[SyncEvent]]:
    found: dict[_Key, list[SyncEvent]] = defaultdict(list)
    for event in events:
        found[event.step, event.thread, group_of(event.kind)].append(event)
    return found


def timed(event: SyncEvent, row: SyncCall) -> SyncEvent:
    """Return `event` with what `row` knows of it."""
    return replace(
        event,
        kind=row.kind,
        op=row.op,
        api=row.call.name,
        stream=row.stream,
        start_ns=row.start_ns,
        end_ns=row.end_ns,
        seen_by=(*event.seen_by, "cupti"),
        device=row.device,
    )


def unhooked(key: _Key, row: SyncCall, copy: CopyEvent | None) -> SyncEvent:
    """Return a synchronization that no hook saw as one: a library under torch, or a copy call that held the host."""
    return SyncEvent(
        step=key[0],
        thread=key[1],
        kind=row.kind,
        explicit=False,
        op=row.op,
        stack=None if copy is None else copy.stack,
        stream=row.stream,
        start_ns=row.start_ns,
        end_ns=row.end_ns,
        pacing=row.pacing,
        seen_by=("cupti",) if copy is None else ("runtime_calls", "cupti"),
        api=row.call.name,
        device=row.device,
    )


def _untimed(event: SyncEvent) -> SyncEvent:
    return replace(event, start_ns=None, end_ns=None)


def _mismatch(key: _Key, hooks: int, cupti: int) -> str:
    where = "outside the steps" if key[0] is None else f"in step {key[0]}"
    what = "allocator calls" if key[2] is SyncKind.ALLOCATION else "synchronizations"
    return f"The hooks saw {hooks} {what} {where}, CUPTI {cupti}: they cannot be joined, so no price is given."


def _op_key(row: SyncCall | CopyCall) -> tuple[int, int]:
    return row.call.tid, row.op_start_ns if row.op_start_ns is not None else -1


def _call(span: Span, threads: ThreadMap) -> Call:
    return Call(threads.number(span.tid), span.name, span.start_ns, span.end_ns)


def kernel_of(run: KernelRun, clock: StepClock, threads: ThreadMap) -> KernelEvent:
    """Return the event of a kernel, in the step that launched it."""
    return KernelEvent(
        step=clock.step_at(run.call.start_ns),
        stream=run.stream,
        name=run.name,
        start_ns=run.start_ns,
        end_ns=run.end_ns,
        call=_call(run.call, threads),
        device=run.device,
        memset_bytes=run.memset_bytes,
    )


def _steps(steps: Sequence[Step], spans: Sequence[Span]) -> tuple[Step, ...]:
    warm = {step.index for step in steps if step.warmup}
    return tuple(Step(_number(span), _number(span) in warm, span.start_ns, span.end_ns) for span in spans)
