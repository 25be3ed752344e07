"""Answers: what is drawn of one wait? The event, its line, and what it cost, in nanoseconds."""

from __future__ import annotations

from dataclasses import dataclass

from syncwatch.model.events import SyncEvent
from syncwatch.model.finding import Finding


@dataclass(frozen=True, slots=True)
class Wait:
    """One synchronization with what is known of it."""

    sync: SyncEvent
    finding: Finding | None
    """None for the runner's own pacing, which is nobody's line."""
    drain_ns: int | None
    """The part of the wait in which the GPU still worked; None where it was not measured."""
    overhead_ns: int | None
    idle: tuple[int, int] | None
    """When the GPU then had nothing to do: the bubble; None where it was not measured."""
    stream_idle_ns: int | None
