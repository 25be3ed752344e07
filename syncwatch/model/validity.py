"""Checks that what points elsewhere in a session points at something. A file may be damaged, or made by hand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from syncwatch.model.events import CopyEvent, SyncEvent
from syncwatch.model.recording import Recording

_FARTHEST = 2**63
"""Times are 64-bit integers wherever they come from; JSON knows no bound, and a float has one."""


class Recorded(Protocol):
    """A session, which is not known here."""

    @property
    def recordings(self) -> tuple[Recording, ...]:
        """Everything that was recorded."""


def faults_of(session: Recorded) -> Iterator[str]:
    """Yield a phrase for each thing in `session` that no recorder writes."""
    names = [recording.variant for recording in session.recordings]
    yield from (f"it has the variant {name!r} twice" for name in set(names) if names.count(name) > 1)
    for recording in session.recordings:
        yield from (f"{fault} in the variant {recording.variant!r}" for fault in _faults(recording))


def _faults(recording: Recording) -> Iterator[str]:
    pointers = (
        ("a frame", (index for stack in recording.stacks for index in stack), len(recording.frames)),
        ("a stack", (sync.stack for sync in recording.syncs), len(recording.stacks)),
        ("a stack", (copy.stack for copy in recording.copies or ()), len(recording.stacks)),
        ("nested ranges", (sync.within for sync in recording.syncs), len(recording.range_stacks)),
        ("a thread", _threads(recording), len(recording.threads)),
    )
    for what, indices, count in pointers:
        if not all(index is None or 0 <= index < count for index in indices):
            yield f"something points at {what} that is not there"
    if not all(0 <= copy.bytes < _FARTHEST for copy in recording.copies or ()):
        yield "a copy has no size that can be"
    spans = [(step.start_ns, step.end_ns) for step in recording.steps]
    spans += [(kernel.start_ns, kernel.end_ns) for kernel in recording.kernels or ()]
    spans += [(each.start_ns, each.end_ns) for each in recording.ranges]
    timed: tuple[SyncEvent | CopyEvent, ...] = (*recording.syncs, *(recording.copies or ()))
    spans += [(each.start_ns, each.end_ns) for each in timed if each.start_ns is not None and each.end_ns is not None]
    if not all(-_FARTHEST <= start <= end < _FARTHEST for start, end in spans):
        yield "something ends before it begins"
    passes = (*recording.rounds_ns, recording.priced_ns, recording.host_build_ns)
    if not all(0 <= time < _FARTHEST for times in passes for time in times):
        yield "a step has no time that can be"
    counts = (recording.coverage.seen, recording.coverage.attributed)
    if not all(count is None or 0 <= count < _FARTHEST for count in counts):
        yield "its coverage has no count that can be"
    if not _distinct(step.index for step in recording.steps):
        yield "two steps have one number"


def _threads(recording: Recording) -> Iterator[int]:
    copies, kernels = recording.copies or (), recording.kernels or ()
    yield from (event.thread for events in (recording.syncs, copies, recording.ranges) for event in events)
    yield from (work.call.thread for works in (copies, kernels) for work in works if work.call is not None)


def _distinct(numbers: Iterable[int]) -> bool:
    known = list(numbers)
    return len(set(known)) == len(known)
