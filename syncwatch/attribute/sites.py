"""Finds the line and the cause that each synchronization of a recording belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from syncwatch.attribute.causes.base import Cause
from syncwatch.attribute.copies_before import CopiesBefore
from syncwatch.attribute.ranges import range_of
from syncwatch.attribute.rules import Evidence, classify
from syncwatch.attribute.stacks import Place, locate
from syncwatch.model.collector import collector_off
from syncwatch.model.events import Direction, SyncEvent, SyncKind
from syncwatch.model.finding import NO_LINE, recorder_of
from syncwatch.model.session import Coverage, Recorder, Recording
from syncwatch.model.wait import Finding

_Key = tuple[int, "int | None", "int | None"]
"""Thread, step and stack."""
_Likeness = tuple[
    "int | None", SyncKind, bool, "str | None", "str | None", tuple[str, ...], "Direction | None", bool, "str | None"
]

_Moved = tuple["Direction | None", bool]
_NOTHING: _Moved = (None, False)

_NOWHERE = Place(None, ())

_STACKS_BY = {
    Recorder.NSYS: "under torch.profiler with `with_stack=True`",
    Recorder.TORCH_PROFILER: "with `with_stack=True`",
}
"""How the Python stack of each call is had; exports of nsys 2022 to 2026 have no table for one."""

_TORCH_HOOKS = frozenset({"debug_mode", "explicit_waits"})
"""Sensors that torch itself tells of its waits."""

SCALAR_BYTES = 16
"""The largest element there is: complex128."""


@collector_off()
def attribute(recording: Recording) -> tuple[Finding | None, ...]:
    """Return the line and the cause of each wait of `recording`, in their order.

    None for the runner's own pacing, which the target did not cause. Equal evidence is judged once, so that the cost
    grows with the number of distinct lines, not of events.
    """
    places = [locate([recording.frames[index] for index in stack]) for stack in recording.stacks]
    recorder = recorder_of(recording.coverage)
    ranges = [range_of(names, heard=recorder is Recorder.SYNCWATCH) for names in recording.range_stacks]
    moved = _moved(recording)
    behind = None if recorder is Recorder.SYNCWATCH else CopiesBefore(recording)
    known: dict[_Likeness, Finding] = {}
    found: list[Finding | None] = []
    for sync in recording.syncs:
        if sync.pacing:
            found.append(None)
            continue
        place = places[sync.stack] if sync.stack is not None else _NOWHERE
        direction, small = _NOTHING if sync.stack is None else moved.get((sync.thread, sync.step, sync.stack), _NOTHING)
        if behind is not None and (copy := behind.of(sync)) is not None and copy.direction is not Direction.D2D:
            # A stack of torch.profiler has the line of the function, and with it the copies of all its lines.
            direction, small = copy.direction, copy.bytes <= SCALAR_BYTES
        within = ranges[sync.within] if place.user is None and sync.within is not None else None
        likeness = (sync.stack, sync.kind, sync.explicit, sync.op, sync.api, sync.seen_by, direction, small, within)
        if likeness not in known:
            evidence = Evidence(
                kind=sync.kind,
                explicit=sync.explicit,
                op=sync.op,
                place=place,
                direction=direction,
                small=small,
                foreign=recorder is Recorder.SYNCWATCH and _is_foreign(sync, recording.coverage),
                api=sync.api,
                hooked=recorder is Recorder.SYNCWATCH,
            )
            finding = _finding(place, classify(evidence))
            known[likeness] = _of_trace(finding, recording, recorder, within)
        found.append(known[likeness])
    return tuple(found)


def _of_trace(finding: Finding, recording: Recording, recorder: Recorder, within: str | None) -> Finding:
    """Return `finding` with what a trace can say where it has no line, or not the one that waited."""
    lineless = finding.file == NO_LINE
    if lineless and not recording.stacks and recorder in _STACKS_BY:
        hint = f"record it {_STACKS_BY[recorder]}, or run it under syncwatch, to get the line."
        finding = replace(finding, hint=hint)
    return replace(finding, range=within, exact_line=lineless or recorder is not Recorder.TORCH_PROFILER)


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


def _finding(place: Place, cause: Cause) -> Finding:
    user = place.user
    expression = user.expression if user else None
    if user and expression and expression.startswith(user.code):
        # An `if` before Python 3.12 carries its whole body.
        expression = user.code
    return Finding(
        code=cause.code,
        title=cause.title,
        hint=cause.hint,
        explicit=cause.explicit,
        file=user.file if user else NO_LINE,
        line=user.line if user else 0,
        function=user.function if user else "",
        source=user.code if user else "",
        expression=expression or None,
    )
