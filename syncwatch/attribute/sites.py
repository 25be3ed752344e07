"""Answers: which line and which cause does each synchronization of a recording belong to?"""

from __future__ import annotations

from collections.abc import Mapping

from syncwatch.attribute.causes.base import Cause
from syncwatch.attribute.rules import Evidence, classify
from syncwatch.attribute.stacks import Place, locate
from syncwatch.model.events import Direction, SyncEvent, SyncKind
from syncwatch.model.finding import NO_LINE, Attributed, Finding
from syncwatch.model.session import Coverage, Recording

_Key = tuple[int, "int | None", "int | None"]
"""Thread, step and stack."""
_Likeness = tuple["int | None", SyncKind, bool, "str | None", "str | None", tuple[str, ...], "Direction | None", bool]

_Moved = tuple["Direction | None", bool]
_NOTHING: _Moved = (None, False)

_TORCH_HOOKS = frozenset({"debug_mode", "explicit_waits"})
"""Sensors that torch itself tells of its waits."""

SCALAR_BYTES = 16
"""The largest element there is: complex128."""


def attribute(recording: Recording) -> tuple[Attributed, ...]:
    """Return every synchronization of `recording` that the target caused, with its line and cause.

    The runner's own pacing waits are left out. Equal evidence is judged once, so that the cost grows with the number of
    distinct lines, not of events.
    """
    places = [locate([recording.frames[index] for index in stack]) for stack in recording.stacks]
    nowhere = Place(None, ())
    moved = _moved(recording)
    known: dict[_Likeness, Finding] = {}
    found = []
    for sync in recording.syncs:
        if sync.pacing:
            continue
        key = (sync.thread, sync.step, sync.stack)
        direction, small = moved.get(key, _NOTHING) if sync.stack is not None else _NOTHING
        likeness = (sync.stack, sync.kind, sync.explicit, sync.op, sync.api, sync.seen_by, direction, small)
        if likeness not in known:
            place = places[sync.stack] if sync.stack is not None else nowhere
            evidence = Evidence(
                kind=sync.kind,
                explicit=sync.explicit,
                op=sync.op,
                place=place,
                direction=direction,
                small=small,
                foreign=_is_foreign(sync, recording.coverage),
                api=sync.api,
            )
            known[likeness] = _finding(place, classify(evidence), sync.explicit)
        found.append(Attributed(sync, known[likeness]))
    return tuple(found)


def _is_foreign(sync: SyncEvent, coverage: Coverage) -> bool:
    """Return whether no part of torch announced the wait: a hook would have told, or an operator would be around it."""
    if _TORCH_HOOKS.isdisjoint(coverage.sensors):
        return sync.op is None and "cupti" in sync.seen_by
    return _TORCH_HOOKS.isdisjoint(sync.seen_by)


def _moved(recording: Recording) -> Mapping[_Key, _Moved]:
    """Return, for each call in each step, which way its copies went and whether each was a single element."""
    moved: dict[_Key, _Moved] = {}
    for copy in recording.copies or ():
        if copy.stack is None or copy.direction is Direction.D2D:
            continue
        key = (copy.thread, copy.step, copy.stack)
        direction, small = moved.get(key, (copy.direction, True))
        same = direction if direction is copy.direction else None
        moved[key] = (same, small and copy.bytes <= SCALAR_BYTES)
    return moved


def _finding(place: Place, cause: Cause, explicit: bool) -> Finding:
    user = place.user
    expression = user.expression if user else None
    if user and expression and expression.startswith(user.code):
        # An `if` before Python 3.12 carries its whole body.
        expression = user.code
    return Finding(
        code=cause.code,
        title=cause.title,
        hint=cause.hint,
        explicit=explicit if cause.explicit is None else cause.explicit,
        file=user.file if user else NO_LINE,
        line=user.line if user else 0,
        function=user.function if user else "",
        source=user.code if user else "",
        expression=expression or None,
    )
