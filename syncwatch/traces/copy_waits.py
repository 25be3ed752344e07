"""Tells the waits of a process: which copies held the host, alone or with the synchronization call behind them.

Torch reads a value by two calls, the copy and the synchronization of its stream, and they are one wait, which begins
with the copy: a copy to pageable memory returns only when it is done. Where torch's operators are known, calls of one
operator belong together. Where not, a synchronization belongs to the copy before it if it follows at once.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace

from syncwatch.model.events import PACING_RANGE, Call, CopyEvent, RangeEvent, SyncKind
from syncwatch.model.runtime import holds
from syncwatch.traces.nesting import Nests
from syncwatch.traces.process import Operator, TraceProcess

AT_ONCE_NS = 50_000
"""Between the copy call and the synchronization of one operator.

On an H200 under nsys 0.1 to 2.9 us lay between them; a host thread that lost its core there for longer makes two waits.
"""


@dataclass(frozen=True, slots=True)
class TraceWait:
    """A host thread stood still from `start_ns` to `end_ns`, or called the allocator."""

    kind: SyncKind
    thread: int
    stream: int | None
    device: int
    api: str
    operator: Operator | None
    start_ns: int
    """When the host began to stand still: with the copy call, if the wait is that of a copy."""
    call_ns: int
    """When the call that waited began."""
    end_ns: int
    pacing: bool = False
    """Whether syncwatch's own runner waited here."""


@dataclass(frozen=True, slots=True)
class TraceCopy:
    """A copy, and what its call did."""

    event: CopyEvent
    """As the trace has it, without operator and without `blocking`."""
    blocking: bool | None
    """Whether the host waited for it; None where its call is not known."""
    operator: Operator | None


def waits_of(process: TraceProcess) -> tuple[tuple[TraceWait, ...], tuple[TraceCopy, ...]]:
    """Return the waits of `process` by the start of their calls, and its copies in their order.

    A wait inside another one, as the driver's call inside the runtime's, is no second wait.
    """
    operator_at = process.surroundings.operator_at
    own = (
        _wait(each.kind, each.call, each.stream, each.device, operator_at(each.call.thread, each.call.start_ns))
        for each in process.waits
    )
    waiting = _Waiting(process, _outermost(own))
    held: list[TraceWait] = []
    copies: list[TraceCopy] = []
    for event in process.copies or ():
        call = event.call
        if call is None:
            copies.append(TraceCopy(event, None, None))
            continue
        operator = operator_at(call.thread, call.start_ns)
        blocks = waiting.takes(event, call, operator)
        if not blocks and holds(call.name, event.direction, event.memory, event.bytes):
            held.append(_wait(SyncKind.COPY, call, event.stream, event.device, operator))
            blocks = True
        copies.append(TraceCopy(event, blocks, operator))
    return tuple(_with_pacing(_outermost([*waiting.begun(), *held]), process.ranges)), tuple(copies)


def _wait(kind: SyncKind, call: Call, stream: int | None, device: int, operator: Operator | None) -> TraceWait:
    return TraceWait(kind, call.thread, stream, device, call.name, operator, call.start_ns, call.start_ns, call.end_ns)


def _with_pacing(waits: list[TraceWait], ranges: Iterable[RangeEvent]) -> list[TraceWait]:
    """Return `waits`, those marked that lie in a range of the runner's own waits."""
    pacing = [each for each in ranges if each.name == PACING_RANGE]
    if not pacing:
        return waits
    nests = Nests(pacing)
    return [wait if nests.around(wait.thread, wait.call_ns) is None else replace(wait, pacing=True) for wait in waits]


def _outermost(waits: Iterable[TraceWait]) -> list[TraceWait]:
    kept: list[TraceWait] = []
    until: dict[int, int] = {}
    for wait in sorted(waits, key=lambda each: (each.call_ns, -each.end_ns)):
        if wait.end_ns > until.get(wait.thread, wait.end_ns - 1):
            kept.append(wait)
            until[wait.thread] = wait.end_ns
    return kept


class _Waiting:
    """The synchronization calls, and which copies each of them waited for."""

    def __init__(self, process: TraceProcess, waits: list[TraceWait]) -> None:
        self._process = process
        self._waits = waits
        self._begins = [wait.start_ns for wait in waits]
        self._by_thread: dict[int, list[int]] = defaultdict(list)
        self._by_operator: dict[tuple[int, int], list[int]] = defaultdict(list)
        self._queued: dict[int, list[int]] | None = None
        for number, wait in enumerate(waits):
            if wait.kind is not SyncKind.ALLOCATION:
                self._by_thread[wait.thread].append(number)
                if wait.operator is not None:
                    self._by_operator[wait.thread, wait.operator.start_ns].append(number)

    def takes(self, copy: CopyEvent, call: Call, operator: Operator | None) -> bool:
        """Return whether the host waited for `copy` in a synchronization call, which then begins with the copy."""
        if operator is None:
            number = self._first_after(call, self._by_thread.get(call.thread, []))
            if number is None or not self._is_at_once(copy, call, self._waits[number]):
                return False
        else:
            members = self._by_operator.get((call.thread, operator.start_ns))
            if members is None:
                return False
            number = self._first_after(call, members)
        if number is not None:
            self._begins[number] = min(self._begins[number], call.start_ns)
        return True

    def begun(self) -> list[TraceWait]:
        """Return every wait, beginning with its first copy."""
        return [
            wait if begin == wait.start_ns else replace(wait, start_ns=begin)
            for wait, begin in zip(self._waits, self._begins, strict=True)
        ]

    def _first_after(self, call: Call, numbers: list[int]) -> int | None:
        at = bisect_left(numbers, call.end_ns, key=lambda number: self._waits[number].call_ns)
        return numbers[at] if at < len(numbers) else None

    def _is_at_once(self, copy: CopyEvent, call: Call, wait: TraceWait) -> bool:
        if wait.kind is not SyncKind.STREAM or wait.call_ns - call.end_ns > AT_ONCE_NS:
            return False
        if wait.stream is not None and (wait.stream, wait.device) != (copy.stream, copy.device):
            return False
        queued = self._queued_by(call.thread)
        following = bisect_left(queued, call.end_ns)
        return following == len(queued) or queued[following] >= wait.call_ns

    def _queued_by(self, thread: int) -> list[int]:
        """Return when `thread` queued work, in order."""
        if self._queued is None:
            calls = [kernel.call for kernel in self._process.kernels or ()]
            calls += [copy.call for copy in self._process.copies or ()]
            self._queued = defaultdict(list)
            for call in calls:
                if call is not None:
                    self._queued[call.thread].append(call.start_ns)
            for starts in self._queued.values():
                starts.sort()
        return self._queued.get(thread, [])
