"""Answers: who is told that the running code waits? The guard of its thread or task, which may raise there."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from types import FrameType

from syncwatch.model.events import SyncKind

Told = Callable[[SyncKind, bool, "str | None", "FrameType | None"], None]
"""Takes what the host waits for, whether the user asked for it, the operator and the frame; raises to forbid it."""

TOLD: ContextVar[Told | None] = ContextVar("syncwatch_guard", default=None)
"""Whom the innermost guard around the running code tells; None where waiting is nobody's business."""


def tell(kind: SyncKind, *, explicit: bool, op: str | None, frame: FrameType | None) -> None:
    """Tell the guard around the running code that it waits; raises what the guard raises."""
    told = TOLD.get()
    if told is not None:
        told(kind, explicit, op, frame)
