"""Answers: which reports are of the same synchronization? One wait becomes one event, whoever saw it."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import replace

from syncwatch.model.events import SyncEvent
from syncwatch.sense.debug_mode import DebugMode

_Place = tuple["int | None", "int | None"]
"""A step and a stack; not the thread, as torch repeats warnings of autograd's threads on the one in `backward`."""


def reconciled(events: Sequence[SyncEvent]) -> tuple[SyncEvent, ...]:
    """Return one event for each synchronization, in the order in which torch announced them.

    The GPU trace tells of a wait at once; the debug mode's warning may be held back until the operator returns, so
    only their number at one place is compared. A wait on an autograd thread has no Python stack, but torch repeats
    its warning on the thread that called `backward`: such a warning lends the wait its line.
    """
    warned = Counter(_place(event) for event in events if _only_warned(event))
    merged = [_merge(event, warned) for event in events if not _only_warned(event)]
    relayed = deque(_left_over(events, warned))
    lent = [_lend(event, relayed) for event in merged]
    return (*lent, *relayed)


def _only_warned(event: SyncEvent) -> bool:
    return event.seen_by == (DebugMode.name,)


def _place(event: SyncEvent) -> _Place:
    return event.step, event.stack


def _merge(event: SyncEvent, warned: Counter[_Place]) -> SyncEvent:
    """Return `event`, marked as seen by the debug mode too if a warning of its place is left."""
    if warned[_place(event)] <= 0:
        return event
    warned[_place(event)] -= 1
    return replace(event, seen_by=(*event.seen_by, DebugMode.name))


def _left_over(events: Iterable[SyncEvent], warned: Counter[_Place]) -> Iterable[SyncEvent]:
    for event in events:
        if _only_warned(event) and warned[_place(event)] > 0:
            warned[_place(event)] -= 1
            yield event


def _lend(event: SyncEvent, relayed: deque[SyncEvent]) -> SyncEvent:
    """Return `event` with the line of a warning that was repeated for it, if it has none of its own."""
    if event.stack is not None or not relayed or relayed[0].step != event.step:
        return event
    return replace(event, stack=relayed.popleft().stack, seen_by=(*event.seen_by, DebugMode.name))
