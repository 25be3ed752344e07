"""Gives each wait that the hooks heard of its time, and each CUPTI row its line, where both are of one run: by time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from syncwatch.model.events import SyncEvent, SyncKind
from syncwatch.sense.cuda.join import CopyLines, HookedWaits, Joined, group_of, placed, seen_in, timed, without_hook
from syncwatch.sense.cuda.match import Matched, is_noted_before, match, match_in_order
from syncwatch.sense.cuda.runtime_trace import RuntimeTrace
from syncwatch.sense.cuda.thread_map import ThreadMap
from syncwatch.sense.stacks import AUTOGRAD
from syncwatch.traces.copy_waits import TraceWait
from syncwatch.traces.nesting import StepClock


def join_run(hooked: HookedWaits, trace: RuntimeTrace, offset_ns: int) -> Joined:
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
    rows = _rows_by_pool(trace.waits, pools)
    events = _events_by_pool(hooked.syncs, pools, offset_ns)
    steps = tuple(
        replace(step, start_ns=step.start_ns + offset_ns, end_ns=step.end_ns + offset_ns) for step in hooked.steps
    )
    clock = StepClock(steps)
    copies = CopyLines(hooked.copies, trace.copies, clock, threads)
    syncs: list[SyncEvent] = []
    idle = untimed = 0
    for key in sorted(events.keys() | rows.keys(), key=lambda key: (key[0], key[1].value)):
        found = _best_match(events.get(key, []), rows.get(key, []))
        paired = [timed(event, row) for event, row in found.pairs]
        copies.lend(paired, [row for _, row in found.pairs])
        kept = [event for event in found.heard if not is_noted_before(event)]
        syncs += paired
        syncs += (replace(event, start_ns=None, end_ns=None) for event in kept)
        syncs += _alone(found.recorded, copies, clock, threads)
        idle += len(found.heard) - len(kept)
        untimed += len(kept)
    return Joined(
        steps=steps,
        syncs=tuple(sorted(syncs, key=_moment)),
        copies=copies.events(),
        kernels=tuple(placed(kernel, clock, threads) for kernel in trace.kernels),
        threads=threads.names(),
        seen=seen_in(trace),
        notes=(*trace.notes, *_left_over(idle, untimed)),
    )


_CLOCK_ERRORS_NS = (0, *(sign * 1000 * size for size in (3, 6, 10, 15, 20, 30, 50, 75, 100, 200) for sign in (1, -1)))
"""How far the clocks of one thread may be apart beside what the marks of the window tell.

The profiler turns counts of the processor that a thread runs on into time, at its end. On an H200 whose host ran four
programs, a read seemed to begin after the warning of it once in 100.
"""


def _best_match(events: Sequence[SyncEvent], rows: Sequence[TraceWait]) -> Matched:
    """Return which of `events` is which of `rows`: one after the other where as many fit, else by time.

    By time, the error of the clock counts at which the fewest hooks have no row.
    """
    found = match_in_order(events, rows)
    for error in _CLOCK_ERRORS_NS if found is None else ():
        tried = match([_shifted(event, error) for event in events], rows)
        if found is None or len(tried.heard) < len(found.heard):
            found = tried
        if not found.heard:
            break
    assert found is not None
    return found


def _shifted(event: SyncEvent, by_ns: int) -> SyncEvent:
    start = None if event.start_ns is None else event.start_ns + by_ns
    end = None if event.end_ns is None else event.end_ns + by_ns
    return replace(event, start_ns=start, end_ns=end)


def _alone(rows: Iterable[TraceWait], copies: CopyLines, clock: StepClock, threads: ThreadMap) -> Iterator[SyncEvent]:
    """Yield the rows that no hook heard of; one in the operator of another wait has the line of that one."""
    for row in rows:
        copy = copies.line_of(row)
        key = clock.at(row.call_ns), threads.number(row.thread), group_of(row.kind)
        event = without_hook(key, row, copy)
        yield event if copy is not None else replace(event, stack=copies.lent(row.thread, row.operator))


def _moment(event: SyncEvent) -> tuple[int, int]:
    return (event.thread, event.start_ns if event.start_ns is not None else 0)


def _left_over(idle: int, untimed: int) -> Iterator[str]:
    if idle:
        yield f"{_times(idle)} the code asked for a wait where there was nothing to wait for; these are not counted."
    if untimed:
        yield f"torch warned {_times(untimed)} of a wait that CUPTI has no record of: there the line has no time."


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


_Pool = tuple[int, SyncKind]
"""A thread, with all threads of autograd as one, and the group of the kind."""


class _Pools:
    """Which waits are matched among themselves: those of one thread.

    torch warns of a wait on one of autograd's threads on the thread that called `backward`, behind all of them.
    """

    def __init__(self, hooked: HookedWaits, trace: RuntimeTrace, threads: ThreadMap) -> None:
        self._native = hooked.native_threads
        self._threads = threads
        autograd = [number for number, name in enumerate(hooked.threads) if name.startswith(AUTOGRAD)]
        self._autograd = frozenset(autograd)
        self._first = autograd[0] if autograd else None
        self._ids = [each.tid for each in trace.threads]
        named = {number for number, each in enumerate(trace.threads) if "autograd" in each.name}
        self._named = named.intersection(row.thread for row in trace.waits)

    def of_event(self, event: SyncEvent) -> _Pool:
        thread = self._first if event.thread in self._autograd else event.thread
        return thread if thread is not None else event.thread, group_of(event.kind)

    def of_row(self, row: TraceWait) -> _Pool:
        return self._thread(row.thread), group_of(row.kind)

    def _thread(self, thread: int) -> int:
        tid = self._ids[thread]
        known = None if tid is None else self._native.get(tid)
        if self._first is not None and (known in self._autograd or thread in self._named):
            return self._first
        if self._first is not None and known is None and not self._named:
            return self._first
        return known if known is not None else self._threads.number(thread)


def _events_by_pool(events: Iterable[SyncEvent], pools: _Pools, offset_ns: int) -> dict[_Pool, list[SyncEvent]]:
    found: dict[_Pool, list[SyncEvent]] = defaultdict(list)
    for event in events:
        found[pools.of_event(event)].append(_shifted(event, offset_ns))
    return found


def _rows_by_pool(rows: Iterable[TraceWait], pools: _Pools) -> dict[_Pool, list[TraceWait]]:
    found: dict[_Pool, list[TraceWait]] = defaultdict(list)
    for row in rows:
        found[pools.of_row(row)].append(row)
    return found
