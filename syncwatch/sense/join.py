"""Gives each wait that the hooks heard of its time, and each CUPTI row its line.

Two passes over the same steps are joined in order, hooks and rows of one run by time.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from syncwatch.model.events import Call, CopyEvent, Direction, KernelEvent, Step, SyncEvent, SyncKind
from syncwatch.model.names import STEP_RANGE
from syncwatch.sense.match import Matched, announces, match
from syncwatch.sense.runtime_trace import CopyCall, KernelRun, RuntimeTrace, Span, SyncCall
from syncwatch.sense.thread_map import ThreadMap
from syncwatch.sense.threads import AUTOGRAD

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


def join_run(hooked: Hooked, trace: RuntimeTrace, offset_ns: int) -> Joined:
    """Join hooks and rows of one and the same run, by time.

    A row that no hook heard of stands without a line, and takes no line or time from the others. A wait that was asked
    for and has no row was none: there was nothing to wait for.

    Args:
        hooked: what the hooks saw.
        trace: what CUPTI recorded.
        offset_ns: what the clock of `trace` shows more than that of `hooked`, as nearly as that is known.
    """
    threads = ThreadMap(hooked.threads, hooked.native_threads, trace)
    pools = _Pools(hooked, trace, threads)
    rows = _rows_by_pool(trace.syncs, pools)
    offset_ns, matched = _best_match(hooked.syncs, rows, pools, offset_ns)
    steps = tuple(
        replace(step, start_ns=step.start_ns + offset_ns, end_ns=step.end_ns + offset_ns) for step in hooked.steps
    )
    clock = _StepClock((step.index, step.start_ns, step.end_ns) for step in steps)
    copies = _Copies(hooked.copies, trace.copies, clock, threads)
    syncs: list[SyncEvent] = []
    idle = untimed = 0
    for found in matched:
        paired = [_timed(event, row) for event, row in found.pairs]
        copies.lend(paired, [row for _, row in found.pairs])
        kept = [event for event in found.heard if not announces(event)]
        syncs += paired
        syncs += (replace(event, start_ns=None, end_ns=None) for event in kept)
        syncs += _alone(found.recorded, copies, clock, threads)
        idle += len(found.heard) - len(kept)
        untimed += len(kept)
    return Joined(
        steps=steps,
        syncs=tuple(sorted(syncs, key=_moment)),
        copies=copies.events(),
        kernels=tuple(_kernel(run, clock, threads) for run in trace.kernels),
        threads=threads.names(),
        seen=_seen(trace),
        notes=tuple(_left_over(idle, untimed)),
    )


_CLOCK_ERRORS_NS = (0, *(sign * 1000 * size for size in (5, 10, 20, 50, 100, 200) for sign in (1, -1)))
"""How far the two clocks may be apart beside what the marks of the window tell.

The profiler turns counts of the processor into time at its end. On an H200 whose host ran four programs, a read began
after the warning of it once in 100.
"""


def _best_match(
    heard: Sequence[SyncEvent], rows: Mapping[_Pool, Sequence[SyncCall]], pools: _Pools, offset_ns: int
) -> tuple[int, list[Matched]]:
    """Return the offset near `offset_ns` at which the fewest hooks have no row, and what is which row with it."""
    best: tuple[int, list[Matched]] | None = None
    fewest = 0
    for error in _CLOCK_ERRORS_NS:
        events = _events_by_pool(heard, pools, offset_ns + error)
        keys = sorted(events.keys() | rows.keys(), key=lambda key: (key[0], key[1].value))
        found = [match(events.get(key, []), rows.get(key, [])) for key in keys]
        lost = sum(len(each.heard) for each in found)
        if best is None or lost < fewest:
            best, fewest = (offset_ns + error, found), lost
        if not fewest:
            break
    assert best is not None
    return best


def _alone(rows: Iterable[SyncCall], copies: _Copies, clock: _StepClock, threads: ThreadMap) -> Iterator[SyncEvent]:
    """Yield the rows that no hook heard of; one in the operator of another wait has the line of that one."""
    for row in rows:
        copy = copies.line_of(row)
        key = clock.step_at(row.call.start_ns), threads.number(row.call.tid), _group(row.kind)
        event = _unhooked(key, row, copy)
        yield event if copy is not None else replace(event, stack=copies.lent(row))


def _moment(event: SyncEvent) -> tuple[int, int]:
    return (event.thread, event.start_ns if event.start_ns is not None else 0)


def _left_over(idle: int, untimed: int) -> Iterator[str]:
    if idle:
        yield f"{_times(idle)} the code asked for a wait where there was nothing to wait for; these are not counted."
    if untimed:
        yield f"torch warned {_times(untimed)} of a wait that CUPTI has no record of: there the line has no time."


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _seen(trace: RuntimeTrace) -> int:
    return sum(not row.pacing and row.kind is not SyncKind.ALLOCATION for row in trace.syncs)


_Pool = tuple[int, SyncKind]
"""A thread, with all threads of autograd as one, and the group of the kind."""


class _Pools:
    """Which waits are matched among themselves: those of one thread.

    torch warns of a wait on one of autograd's threads on the thread that called `backward`, behind all of them.
    """

    def __init__(self, hooked: Hooked, trace: RuntimeTrace, threads: ThreadMap) -> None:
        self._native = hooked.native_threads
        self._threads = threads
        autograd = [number for number, name in enumerate(hooked.threads) if name.startswith(AUTOGRAD)]
        self._autograd = frozenset(autograd)
        self._first = autograd[0] if autograd else None
        named = {tid for tid, name in trace.thread_names.items() if "autograd" in name}
        self._named = named.intersection(row.call.tid for row in trace.syncs)

    def of_event(self, event: SyncEvent) -> _Pool:
        thread = self._first if event.thread in self._autograd else event.thread
        return thread if thread is not None else event.thread, _group(event.kind)

    def of_row(self, row: SyncCall) -> _Pool:
        return self._thread(row.call.tid), _group(row.kind)

    def _thread(self, tid: int) -> int:
        known = self._native.get(tid)
        if self._first is not None and (known in self._autograd or tid in self._named):
            return self._first
        if self._first is not None and known is None and not self._named:
            return self._first
        return known if known is not None else self._threads.number(tid)


def _events_by_pool(events: Iterable[SyncEvent], pools: _Pools, offset_ns: int) -> dict[_Pool, list[SyncEvent]]:
    found: dict[_Pool, list[SyncEvent]] = defaultdict(list)
    for event in events:
        start = None if event.start_ns is None else event.start_ns + offset_ns
        end = None if event.end_ns is None else event.end_ns + offset_ns
        found[pools.of_event(event)].append(replace(event, start_ns=start, end_ns=end))
    return found


def _rows_by_pool(rows: Iterable[SyncCall], pools: _Pools) -> dict[_Pool, list[SyncCall]]:
    found: dict[_Pool, list[SyncCall]] = defaultdict(list)
    for row in rows:
        found[pools.of_row(row)].append(row)
    return found


def join(hooked: Hooked, trace: RuntimeTrace) -> Joined:
    """Join two passes over the same steps.

    The two are matched in order within one step and thread, waits inside copy calls and allocator calls apart from the
    others. Where their kinds differ the join is not certain: the lines are kept without a time, and a note says so.
    """
    threads = ThreadMap(hooked.threads, hooked.native_threads, trace)
    clock = _StepClock((_number(span), span.start_ns, span.end_ns) for span in trace.steps)
    copies = _Copies(hooked.copies, trace.copies, clock, threads)
    rows = _by_key(trace.syncs, clock, threads)
    events = _events_by_key(hooked.syncs)
    syncs: list[SyncEvent] = []
    notes: list[str] = []
    for key in sorted(events.keys() | rows.keys(), key=lambda key: (key[0] is None, key[0] or 0, key[1], key[2].value)):
        found, timed = events.get(key, []), rows.get(key, [])
        if [event.kind for event in found] == [row.kind for row in timed]:
            merged = [_timed(event, row) for event, row in zip(found, timed, strict=True)]
        elif not found or all(copies.knows(row) for row in timed):
            merged = [_unhooked(key, row, copies.line_of(row)) for row in timed]
        else:
            merged = [replace(event, start_ns=None, end_ns=None) for event in found]
            if not hooked.complete:
                # Which of the rows the hooks missed is not known; that they were there is.
                merged += [_untimed(_unhooked(key, row, None)) for row in timed[len(found) :]]
            notes.append(_mismatch(key, len(found), len(timed)))
        if len(merged) == len(timed):
            copies.lend(merged, timed)
        syncs += merged
    return Joined(
        steps=_steps(hooked.steps, trace.steps),
        syncs=tuple(syncs),
        copies=copies.events(),
        kernels=tuple(_kernel(run, clock, threads) for run in trace.kernels),
        threads=threads.names(),
        seen=_seen(trace),
        notes=tuple(notes),
    )


class _StepClock:
    """Tells which step a host moment lies in."""

    def __init__(self, steps: Iterable[tuple[int, int, int]]) -> None:
        """Take the index, begin and end of each step."""
        self._steps = sorted(steps, key=lambda step: step[1])
        self._starts = [start for _, start, _ in self._steps]

    def step_at(self, moment: int) -> int | None:
        at = bisect_right(self._starts, moment) - 1
        if at < 0 or self._steps[at][2] < moment:
            return None
        return self._steps[at][0]


class _Copies:
    """The copies of the trace, each with the line of the hooked copy call of the same place in the order.

    Where a thread's copies of a step differ in number, way or size, a copy gets the line of the wait of its operator.
    """

    def __init__(
        self, hooked: Sequence[CopyEvent], calls: Sequence[CopyCall], clock: _StepClock, threads: ThreadMap
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


def _group(kind: SyncKind) -> SyncKind:
    return kind if kind in (SyncKind.COPY, SyncKind.ALLOCATION) else SyncKind.STREAM


def _by_key(rows: Iterable[SyncCall], clock: _StepClock, threads: ThreadMap) -> dict[_Key, list[SyncCall]]:
    found: dict[_Key, list[SyncCall]] = defaultdict(list)
    for row in rows:
        found[clock.step_at(row.call.start_ns), threads.number(row.call.tid), _group(row.kind)].append(row)
    return found


def _events_by_key(events: Iterable[SyncEvent]) -> dict[_Key, list[SyncEvent]]:
    found: dict[_Key, list[SyncEvent]] = defaultdict(list)
    for event in events:
        found[event.step, event.thread, _group(event.kind)].append(event)
    return found


def _timed(event: SyncEvent, row: SyncCall) -> SyncEvent:
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


def _unhooked(key: _Key, row: SyncCall, copy: CopyEvent | None) -> SyncEvent:
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


def _kernel(run: KernelRun, clock: _StepClock, threads: ThreadMap) -> KernelEvent:
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
