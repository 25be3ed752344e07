"""What of a recording or a report waits, without the calls of the allocators, which a cold program makes too."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from syncwatch.model.events import SyncEvent, SyncKind
from syncwatch.model.session import Recording
from syncwatch.sense.recorder import Recorder


def waits_of(recorded: Recording | Recorder) -> list[SyncEvent]:
    """Return what the host stood still for."""
    return [each for each in recorded.syncs if each.kind is not SyncKind.ALLOCATION]


def allocator_calls_of(recorder: Recorder) -> list[str | None]:
    """Return the calls of the driver that the allocators made, in their order."""
    return [each.api for each in recorder.syncs if each.kind is SyncKind.ALLOCATION]


def sites_that_wait(sites: Iterable[Any]) -> list[Any]:
    """Return the sites of a report, as objects or as JSON has them, that are no calls of an allocator (SW6)."""
    return [each for each in sites if not (each["code"] if isinstance(each, dict) else each.code).startswith("SW6")]
