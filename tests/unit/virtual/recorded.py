"""Answers: which waits were recorded? For tests; calls of the allocators are no waits, and are looked at apart."""

from __future__ import annotations

from syncwatch.model.events import SyncEvent, SyncKind
from syncwatch.sense.recorder import Recorder


def waits_in(recorder: Recorder) -> list[SyncEvent]:
    """Return what the host stood still for."""
    return [each for each in recorder.syncs if each.kind is not SyncKind.ALLOCATION]


def allocator_calls_in(recorder: Recorder) -> list[str | None]:
    """Return the calls of the driver that the allocators made, in their order."""
    return [each.api for each in recorder.syncs if each.kind is SyncKind.ALLOCATION]
