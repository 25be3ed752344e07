"""The waits of a recording or a report, without the calls of the allocators, which a cold program makes besides."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from syncwatch.model.events import SyncEvent, SyncKind
from syncwatch.model.session import Recording
from syncwatch.sense.recorder import Recorder


def waits_of(recorded: Recording | Recorder) -> list[SyncEvent]:
    """Return the synchronizations at which the host waited."""
    return [each for each in recorded.syncs if each.kind is not SyncKind.ALLOCATION]


def allocator_calls_of(recorder: Recorder) -> list[str | None]:
    """Return the driver's functions that the allocators called, in their order."""
    return [each.api for each in recorder.syncs if each.kind is SyncKind.ALLOCATION]


def sites_that_wait(sites: Iterable[Any]) -> list[Any]:
    """Return the sites of a report, objects or JSON, whose cause is not an allocator's call (SW601, SW602)."""
    return [each for each in sites if not (each["code"] if isinstance(each, dict) else each.code).startswith("SW6")]
