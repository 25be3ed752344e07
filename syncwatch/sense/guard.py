"""Answers: who is told that the running code waits? The guard of its thread or task, which may raise there."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from types import FrameType

from syncwatch.model.events import Direction, SyncKind


@dataclass(frozen=True, slots=True)
class Wait:
    """The host waits, or has just waited."""

    kind: SyncKind
    explicit: bool
    """Whether the user asked for it."""
    op: str | None
    frame: FrameType | None
    direction: Direction | None = None
    """Where the copy went that is waited for; None where there is none or it is not known."""
    size: int = 0
    """Its bytes."""


Told = Callable[[Wait], None]
"""Raises to forbid it."""

TOLD: ContextVar[Told | None] = ContextVar("syncwatch_guard", default=None)
"""Whom the innermost guard around the running code tells; None where waiting is nobody's business."""


def tell(wait: Wait) -> None:
    """Tell the guard around the running code that it waits; raises what the guard raises."""
    told = TOLD.get()
    if told is not None:
        told(wait)
