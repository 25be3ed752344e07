"""Answers: which line and which cause does each synchronization of a recording belong to?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from syncwatch.attribute.causes.base import Cause
from syncwatch.attribute.rules import Evidence, classify
from syncwatch.attribute.stacks import Place, locate
from syncwatch.model.events import CopyEvent, Direction, SyncEvent, SyncKind
from syncwatch.model.finding import NO_LINE, Attributed, Finding
from syncwatch.model.session import Recording

_Key = tuple[int, "int | None", "int | None"]
_Likeness = tuple["int | None", SyncKind, bool, "str | None", tuple[str, ...], "Direction | None", bool]

SCALAR_BYTES = 16
"""The largest element there is: complex128."""


def attribute(recording: Recording) -> tuple[Attributed, ...]:
    """Return every synchronization of `recording` that the target caused, with its line and cause.

    The runner's own pacing waits are left out. Equal evidence is judged once, so that the cost grows with the number of
    distinct lines, not of events.
    """
    places = [locate([recording.frames[index] for index in stack]) for stack in recording.stacks]
    nowhere = Place(None, ())
    copies = _copies_by_stack(recording)
    known: dict[_Likeness, Finding] = {}
    found = []
    for sync in recording.syncs:
        if sync.pacing:
            continue
        direction, small = _moved(sync, copies)
        likeness = (sync.stack, sync.kind, sync.explicit, sync.op, sync.seen_by, direction, small)
        if likeness not in known:
            place = places[sync.stack] if sync.stack is not None else nowhere
            evidence = Evidence(
                kind=sync.kind,
                explicit=sync.explicit,
                op=sync.op,
                place=place,
                direction=direction,
                small=small,
                only_cupti=sync.seen_by == ("cupti",),
            )
            known[likeness] = _finding(place, classify(evidence), sync.explicit)
        found.append(Attributed(sync, known[likeness]))
    return tuple(found)


def _copies_by_stack(recording: Recording) -> Mapping[_Key, list[CopyEvent]]:
    copies: dict[_Key, list[CopyEvent]] = defaultdict(list)
    for copy in recording.copies or ():
        if copy.stack is not None:
            copies[copy.thread, copy.step, copy.stack].append(copy)
    return copies


def _moved(sync: SyncEvent, copies: Mapping[_Key, list[CopyEvent]]) -> tuple[Direction | None, bool]:
    """Return which way the copies of the same call went, and whether each was a single element."""
    if sync.stack is None:
        return None, False
    mine = copies.get((sync.thread, sync.step, sync.stack), ())
    moved = [copy for copy in mine if copy.direction is not Direction.D2D]
    directions = {copy.direction for copy in moved}
    small = bool(moved) and all(copy.bytes <= SCALAR_BYTES for copy in moved)
    return (directions.pop() if len(directions) == 1 else None), small


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
