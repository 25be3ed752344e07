"""Tells the guard of the running thread or task that its code waits; the guard may raise there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType

from syncwatch.model.events import Direction, SyncKind
from syncwatch.sense.scopes.scope import ScopeStack


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


WaitHandler = Callable[[Wait], None]
"""Raises to forbid it."""

ACTIVE_GUARDS: ScopeStack[WaitHandler | None] = ScopeStack("syncwatch_guard")
"""Whom the guards around the running code tell; None where waiting is nobody's business."""


def is_told() -> bool:
    """Return whether somebody is told of waits of the running code."""
    block = ACTIVE_GUARDS.innermost()
    return block is not None and block.value is not None


def tell(wait: Wait) -> None:
    """Tell the guard around the running code that it waits; raises what the guard raises."""
    block = ACTIVE_GUARDS.innermost()
    if block is not None and block.value is not None:
        block.value(wait)
