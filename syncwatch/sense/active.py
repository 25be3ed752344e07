"""Who is told now: the recorders that listen, innermost last, the counter of steps, and the guard of what runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Protocol

from syncwatch.model.events import Direction, SyncKind
from syncwatch.sense.recorder import Recorder
from syncwatch.sense.scopes.scope import ScopeStack

_recorders: list[Recorder] = []
_subscribed = False


def set_subscribed(on: bool) -> None:
    """Say whether this process subscribes to CUPTI, which serves one at a time."""
    global _subscribed
    _subscribed = on


def subscribed() -> bool:
    """Return whether this process subscribes to CUPTI."""
    return _subscribed


def push(recorder: Recorder) -> None:
    """Let `recorder` record every later step and range."""
    _recorders.append(recorder)


def pop(recorder: Recorder) -> None:
    """Let `recorder` record nothing more; in the child of a fork nothing is recorded as it is."""
    if recorder in _recorders:
        _recorders.remove(recorder)


def clear() -> None:
    """Let nothing be recorded any more, as in the child of a fork."""
    _recorders.clear()


def recorders() -> tuple[Recorder, ...]:
    """Return the active recorders."""
    return tuple(_recorders)


class StepCounter(Protocol):
    """Hears of every step that the program marks, also while nobody records; in the child of a fork too."""

    def step_begins(self) -> int | None:
        """Return the number of a step that is about to begin in the calling thread; None where none is counted."""

    def step_ended(self, number: int) -> None:
        """Note that the step `number` has ended in the calling thread."""


_counter: StepCounter | None = None


def count_steps(counter: StepCounter | None) -> None:
    """Let `counter` hear of every later step; None for nobody."""
    global _counter
    _counter = counter


def step_counter() -> StepCounter | None:
    """Return who counts the steps now."""
    return _counter


@dataclass(frozen=True, slots=True)
class GuardedWait:
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


WaitHandler = Callable[[GuardedWait], None]
"""Raises to forbid it."""

ACTIVE_GUARDS: ScopeStack[WaitHandler | None] = ScopeStack("syncwatch_guard")
"""What the guards around the running code call at a wait; None where waiting is allowed."""


def is_guarded() -> bool:
    """Return whether a guard is called at waits of the running code."""
    block = ACTIVE_GUARDS.innermost()
    return block is not None and block.value is not None


def notify_guard(wait: GuardedWait) -> None:
    """Call the guard around the running code; raises what the guard raises."""
    block = ACTIVE_GUARDS.innermost()
    if block is not None and block.value is not None:
        block.value(wait)
