"""Answers: which line does each CUPTI row belong to? Joins two passes over the same steps, per thread, in order."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from syncwatch.model.events import CopyEvent, KernelEvent, Step, SyncEvent, SyncKind
from syncwatch.sense.cupti import CopyCall, KernelRun, RuntimeTrace, Span, SyncCall
from syncwatch.sense.names import STEP_RANGE

_Key = tuple["int | None", int, bool]
"""A step, a thread, and whether the waits are inside copy calls, which other hooks see."""


@dataclass(frozen=True, slots=True)
class Joined:
    """Lines from the hooks, times from CUPTI."""

    steps: tuple[Step, ...]
    syncs: tuple[SyncEvent, ...]
    copies: tuple[CopyEvent, ...]
    kernels: tuple[KernelEvent, ...]
    seen: int
    """Synchronizations that CUPTI recorded, the runner's own waits left out."""
    notes: tuple[str, ...]


def join(hooked: Sequence[SyncEvent], steps: Sequence[Step], threads: Mapping[int, int], trace: RuntimeTrace) -> Joined:
    """Give each hooked synchronization its time, and each CUPTI row its line.

    The two are matched in order within one step and thread, waits inside copy calls apart from the others. Where
    their kinds differ the join is not certain: the lines are kept without a time, and a note says so.

    Args:
        hooked: what the hooks saw, in order.
        steps: the steps of the hooked pass, for their warm-up marks.
        threads: system thread id to the recorder's thread number.
        trace: what CUPTI saw of the same steps.
    """
    clock = _StepClock(trace.steps)
    rows = _by_key(trace.syncs, clock, threads)
    events = _events_by_key(hooked)
    syncs: list[SyncEvent] = []
    notes: list[str] = []
    stacks: dict[tuple[int, int], int | None] = {}
    for key in sorted(events.keys() | rows.keys(), key=lambda key: (key[0] is None, key[0] or 0, *key[1:])):
        found, timed = events.get(key, []), rows.get(key, [])
        if [event.kind for event in found] == [row.kind for row in timed]:
            merged = [_timed(event, row) for event, row in zip(found, timed, strict=True)]
        elif not found:
            merged = [_unhooked(key, row) for row in timed]
        else:
            merged = found
            notes.append(_mismatch(key, len(found), len(timed)))
        syncs += merged
        if merged is not found:
            stacks.update((_op_key(row), event.stack) for event, row in zip(merged, timed, strict=True))
    return Joined(
        steps=_steps(steps, trace.steps),
        syncs=tuple(syncs),
        copies=tuple(_copy(call, clock, threads, stacks) for call in trace.copies),
        kernels=tuple(_kernel(run, clock) for run in trace.kernels),
        seen=sum(not row.pacing for row in trace.syncs),
        notes=tuple(notes),
    )


class _StepClock:
    """Tells which step a host moment lies in."""

    def __init__(self, spans: Iterable[Span]) -> None:
        self._spans = sorted(spans, key=lambda span: span.start_ns)
        self._starts = [span.start_ns for span in self._spans]

    def step_at(self, moment: int) -> int | None:
        at = bisect_right(self._starts, moment) - 1
        if at < 0 or self._spans[at].end_ns < moment:
            return None
        return _number(self._spans[at])


def _number(span: Span) -> int:
    return int(span.name.removeprefix(STEP_RANGE))


def _by_key(rows: Iterable[SyncCall], clock: _StepClock, threads: Mapping[int, int]) -> dict[_Key, list[SyncCall]]:
    found: dict[_Key, list[SyncCall]] = defaultdict(list)
    for row in rows:
        found[clock.step_at(row.start_ns), threads.get(row.tid, 0), row.kind is SyncKind.COPY].append(row)
    return found


def _events_by_key(events: Iterable[SyncEvent]) -> dict[_Key, list[SyncEvent]]:
    found: dict[_Key, list[SyncEvent]] = defaultdict(list)
    for event in events:
        found[event.step, event.thread, event.kind is SyncKind.COPY].append(event)
    return found


def _timed(event: SyncEvent, row: SyncCall) -> SyncEvent:
    return replace(event, op=row.op, start_ns=row.start_ns, end_ns=row.end_ns, seen_by=(*event.seen_by, "cupti"))


def _unhooked(key: _Key, row: SyncCall) -> SyncEvent:
    """Return a synchronization that no hook saw: a library under torch, or a thread without Python."""
    return SyncEvent(
        step=key[0],
        thread=key[1],
        kind=row.kind,
        explicit=False,
        op=row.op,
        stack=None,
        stream=None,
        start_ns=row.start_ns,
        end_ns=row.end_ns,
        pacing=row.pacing,
        seen_by=("cupti",),
    )


def _mismatch(key: _Key, hooks: int, cupti: int) -> str:
    where = "outside the steps" if key[0] is None else f"in step {key[0]}"
    return (
        f"The hooks saw {hooks} synchronizations {where}, CUPTI {cupti}: they cannot be joined, so no price is given."
    )


def _op_key(row: SyncCall | CopyCall) -> tuple[int, int]:
    return row.tid, row.op_start_ns if row.op_start_ns is not None else -1


def _copy(
    call: CopyCall, clock: _StepClock, threads: Mapping[int, int], stacks: Mapping[tuple[int, int], int | None]
) -> CopyEvent:
    return CopyEvent(
        step=clock.step_at(call.asked_ns),
        thread=threads.get(call.tid, 0),
        direction=call.direction,
        memory=call.memory,
        bytes=call.bytes,
        blocking=call.blocking,
        op=call.op,
        stack=None if call.op_start_ns is None else stacks.get(_op_key(call)),
        stream=call.stream,
        start_ns=call.start_ns,
        end_ns=call.end_ns,
    )


def _kernel(run: KernelRun, clock: _StepClock) -> KernelEvent:
    return KernelEvent(clock.step_at(run.asked_ns), run.stream, run.name, run.start_ns, run.end_ns)


def _steps(steps: Sequence[Step], spans: Sequence[Span]) -> tuple[Step, ...]:
    warm = {step.index for step in steps if step.warmup}
    return tuple(Step(_number(span), _number(span) in warm, span.start_ns, span.end_ns) for span in spans)
