"""Tells which wait that a hook heard of is which call that CUPTI recorded, when both watched one and the same run.

A hook hears of an explicit wait just before the call, and of torch's warnings just behind the operator that waited. So
both lie on one line of time, and a wait that only one side saw takes nothing from the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from syncwatch.model.events import SyncEvent
from syncwatch.traces.copy_waits import TraceWait


@dataclass(slots=True)
class Matched:
    """The waits of one thread and one kind of call."""

    pairs: list[tuple[SyncEvent, TraceWait]] = field(default_factory=list)
    """What a hook heard of and CUPTI recorded."""
    heard: list[SyncEvent] = field(default_factory=list)
    """What a hook heard of alone."""
    recorded: list[TraceWait] = field(default_factory=list)
    """What CUPTI recorded alone."""


def match(events: Sequence[SyncEvent], rows: Sequence[TraceWait]) -> Matched:
    """Return which of `events` is which of `rows`.

    Args:
        events: with `start_ns` where the hook heard of the wait before it, else with `end_ns`; on the clock of `rows`.
        rows: the recorded calls.
    """
    return _Merge(events, rows).result


_NEAR_NS = 2_000_000
"""A hook is no further from its call; a clock that is off by so much is no clock."""


def match_in_order(events: Sequence[SyncEvent], rows: Sequence[TraceWait]) -> Matched | None:
    """Return each of `events` with the row at its place, where there are as many and each pair fits; else None.

    However far the clocks are apart, as many of both are the same waits.
    """
    if len(events) != len(rows) or not all(map(_fits, events, rows)):
        return None
    return Matched(pairs=list(zip(events, rows, strict=True)))


def _fits(event: SyncEvent, row: TraceWait) -> bool:
    if is_noted_before(event):
        return event.kind is row.kind and abs(_heard_ns(event) - row.call_ns) <= _NEAR_NS
    # Warnings of backward come long after the waits.
    return _heard_ns(event) >= row.call_ns - _NEAR_NS


def is_noted_before(event: SyncEvent) -> bool:
    """Return whether the hook heard of the wait before it began."""
    return event.start_ns is not None


class _Merge:
    """One walk through both, in order of time."""

    def __init__(self, events: Sequence[SyncEvent], rows: Sequence[TraceWait]) -> None:
        self.result = Matched()
        self._announced: SyncEvent | None = None
        self._loose: list[TraceWait] = []
        """Recorded since the last warning."""
        self._warnings: list[SyncEvent] = []
        """Heard of since the last call."""
        for item in _in_order(events, rows):
            if isinstance(item, SyncEvent):
                self._hear(item)
            else:
                self._record(item)
        self._settle()
        self._give_up_announced()
        self.result.recorded += self._loose

    def _hear(self, event: SyncEvent) -> None:
        if is_noted_before(event):
            self._settle()
            self._give_up_announced()
            self._announced = event
        else:
            self._warnings.append(event)

    def _record(self, row: TraceWait) -> None:
        self._settle()
        if self._announced is not None and self._announced.kind is row.kind:
            self.result.pairs.append((self._announced, row))
            self._announced = None
        else:
            self._loose.append(row)

    def _settle(self) -> None:
        """Give the warnings of one operator, which come together behind it, to the last calls before them."""
        if not self._warnings:
            return
        count = min(len(self._warnings), len(self._loose))
        others, last = self._loose[: len(self._loose) - count], self._loose[len(self._loose) - count :]
        self.result.pairs += zip(self._warnings, last, strict=False)
        self.result.heard += self._warnings[count:]
        self.result.recorded += others
        self._warnings, self._loose = [], []

    def _give_up_announced(self) -> None:
        if self._announced is not None:
            self.result.heard.append(self._announced)
            self._announced = None


def _in_order(events: Iterable[SyncEvent], rows: Iterable[TraceWait]) -> Iterator[SyncEvent | TraceWait]:
    """Yield both by the moment of hearing, and of the begin of the call."""
    moments: list[tuple[int, int, SyncEvent | TraceWait]] = [
        *((_heard_ns(event), number, event) for number, event in enumerate(events)),
        *((row.call_ns, number, row) for number, row in enumerate(rows)),
    ]
    moments.sort(key=lambda each: each[:2])
    return (item for _, _, item in moments)


def _heard_ns(event: SyncEvent) -> int:
    moment = event.start_ns if event.start_ns is not None else event.end_ns
    return moment if moment is not None else 0
