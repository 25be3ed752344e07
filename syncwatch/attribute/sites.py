"""Finds the line and the cause that each synchronization of a recording belongs to."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

from syncwatch.attribute.causes.base import Cause
from syncwatch.attribute.rules import Evidence, classify
from syncwatch.attribute.stacks import WaitPlace, locate, range_of
from syncwatch.model.analysis import Finding
from syncwatch.model.events import CopyEvent, Direction, SyncEvent, SyncKind, collector_off
from syncwatch.model.report import NO_LINE, recorder_of
from syncwatch.model.session import Coverage, RecordedBy, Recording


class CopiesBefore:
    """The copies of a recording by the thread and the moment of the call that asked for each."""

    def __init__(self, recording: Recording) -> None:
        copies: dict[int, list[tuple[int, CopyEvent]]] = defaultdict(list)
        for copy in recording.copies or ():
            if copy.call is not None:
                copies[copy.call.thread].append((copy.call.start_ns, copy))
        self._copies = {thread: sorted(known, key=lambda pair: pair[0]) for thread, known in copies.items()}
        self._starts = {thread: [start for start, _ in known] for thread, known in self._copies.items()}
        calls = (kernel.call for kernel in recording.kernels or () if kernel.call is not None)
        self._launches = _by_thread((call.thread, call.start_ns) for call in calls)
        ends = ((sync.thread, sync.end_ns) for sync in recording.syncs if sync.end_ns is not None)
        self._waited = _by_thread(ends)

    def of(self, sync: SyncEvent) -> CopyEvent | None:
        """Return the copy that `sync` stands behind.

        torch waits for a copy with the very next call, on the stream that copied; a launch or a wait in between says
        that the wait is for something else. None where it is, or where the calls or times were not recorded.
        """
        if sync.start_ns is None or sync.kind not in (SyncKind.STREAM, SyncKind.COPY):
            return None
        before = bisect_right(self._starts.get(sync.thread, []), sync.start_ns) - 1
        if before < 0:
            return None
        asked_ns, copy = self._copies[sync.thread][before]
        if sync.stream is not None and (sync.device, sync.stream) != (copy.device, copy.stream):
            return None
        for moments in (self._launches, self._waited):
            known = moments.get(sync.thread, [])
            if bisect_right(known, sync.start_ns) > bisect_right(known, asked_ns):
                return None
        return copy


def _by_thread(moments: Iterable[tuple[int, int]]) -> dict[int, list[int]]:
    grouped: dict[int, list[int]] = defaultdict(list)
    for thread, moment in moments:
        grouped[thread].append(moment)
    return {thread: sorted(known) for thread, known in grouped.items()}


_Key = tuple[int, "int | None", "int | None"]
"""Thread, step and stack."""
_Likeness = tuple[
    "int | None", SyncKind, bool, "str | None", "str | None", tuple[str, ...], "Direction | None", bool, "str | None"
]

_Moved = tuple["Direction | None", bool]
_NOTHING: _Moved = (None, False)

_NOWHERE = WaitPlace(None, ())

_STACKS_BY = {
    RecordedBy.NSYS: "under torch.profiler with `with_stack=True`",
    RecordedBy.TORCH_PROFILER: "with `with_stack=True`",
}
"""How the Python stack of each call is had; exports of nsys 2022 to 2026 have no table for one."""

_DRIVER_CALLS = "runtime_calls"
"""The sensor that sees every wait of the driver, with the operator of torch that made it."""
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
    ranges = [range_of(names, live=recorder is RecordedBy.SYNCWATCH) for names in recording.range_stacks]
    moved = _moved(recording)
    behind = None if recorder is RecordedBy.SYNCWATCH else CopiesBefore(recording)
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
                foreign=recorder is RecordedBy.SYNCWATCH and _is_foreign(sync, recording.coverage),
                api=sync.api,
                hooked=recorder is RecordedBy.SYNCWATCH,
            )
            finding = _finding(place, classify(evidence))
            known[likeness] = _of_trace(finding, recording, recorder, within)
        found.append(known[likeness])
    return tuple(found)


def _of_trace(finding: Finding, recording: Recording, recorder: RecordedBy, within: str | None) -> Finding:
    """Return `finding` with what a trace can say where it has no line, or not the one that waited."""
    lineless = finding.file == NO_LINE
    if lineless and not recording.stacks and recorder in _STACKS_BY:
        hint = f"record it {_STACKS_BY[recorder]}, or run it under syncwatch, to get the line."
        finding = replace(finding, hint=hint)
    return replace(finding, range=within, exact_line=lineless or recorder is not RecordedBy.TORCH_PROFILER)


def _is_foreign(sync: SyncEvent, coverage: Coverage) -> bool:
    """Return whether no part of torch made the wait: an operator would be on its native stack, or a hook have told."""
    if _DRIVER_CALLS in sync.seen_by:
        return sync.op is None
    return not _TORCH_HOOKS.isdisjoint(coverage.sensors) and _TORCH_HOOKS.isdisjoint(sync.seen_by)


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


def _finding(place: WaitPlace, cause: Cause) -> Finding:
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
