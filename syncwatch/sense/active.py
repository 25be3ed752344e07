"""The recorders that are listening now, to which steps and ranges report, innermost last."""

from __future__ import annotations

from syncwatch.sense.recorder import Recorder

_recorders: list[Recorder] = []
_profiling = False
_subscribed = False


def set_subscribed(on: bool) -> None:
    """Say whether this process subscribes to CUPTI's callbacks, so that torch.profiler must not start."""
    global _subscribed
    _subscribed = on


def subscribed() -> bool:
    """Return whether this process subscribes to CUPTI's callbacks."""
    return _subscribed


def set_profiling(on: bool) -> None:
    """Say whether torch.profiler runs, so that ranges are worth repeating to it."""
    global _profiling
    _profiling = on


def profiling() -> bool:
    """Return whether torch.profiler runs."""
    return _profiling


def push(recorder: Recorder) -> None:
    """Let `recorder` hear every later step and range."""
    _recorders.append(recorder)


def pop(recorder: Recorder) -> None:
    """Let `recorder` hear nothing more; in the child of a fork nobody hears anything as it is."""
    if recorder in _recorders:
        _recorders.remove(recorder)


def clear() -> None:
    """Let nobody hear anything more, as in the child of a fork."""
    _recorders.clear()


def recorders() -> tuple[Recorder, ...]:
    """Return the recorders that listen now."""
    return tuple(_recorders)
