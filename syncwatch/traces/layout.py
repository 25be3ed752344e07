"""Lays a session out in a trace file: where each variant lies on its time line, and what its waits are called there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from syncwatch.model.report import NO_LINE
from syncwatch.model.session import Recording, Session

GAP_NS = 1_000_000
"""Between two variants that had to be moved apart; a millisecond is seen at every zoom."""
FIRST_NS = 1_000
"""Where the first event lies: nsys leaves out rows that start at 0."""


@dataclass(frozen=True, slots=True)
class PlacedRecording:
    """A recording with its place in the file."""

    recording: Recording
    shift_ns: int
    """To be added to every time of the recording."""
    start_ns: int
    """Its first moment, in the time of the file."""
    end_ns: int
    """Its last moment, in the time of the file."""


def lay_out(session: Session) -> tuple[PlacedRecording, ...]:
    """Return the recordings of `session` one after another: virtual clocks all begin at zero and would lie on top.

    The distance of recordings that do not overlap is kept. The first begins at `FIRST_NS`.
    """
    placed: list[PlacedRecording] = []
    origin: int | None = None
    for recording in session.recordings:
        first, last = extent_of(recording)
        if origin is None:
            origin = first - FIRST_NS
        free = placed[-1].end_ns if placed else 0
        shift = -origin if first - origin > free else free + GAP_NS - first
        placed.append(PlacedRecording(recording, shift, first + shift, last + shift))
    return tuple(placed)


def extent_of(recording: Recording) -> tuple[int, int]:
    """Return the first and the last moment of everything timed in `recording`; zeros where nothing is."""
    moments = list(_moments(recording))
    return (min(moments), max(moments)) if moments else (0, 0)


def _moments(recording: Recording) -> Iterator[int]:
    kernels, copies = recording.kernels or (), recording.copies or ()
    for groups in (recording.steps, recording.ranges, kernels, recording.syncs, copies):
        for each in groups:
            yield from (moment for moment in (each.start_ns, each.end_ns) if moment is not None)
    for works in (kernels, copies):
        for work in works:
            if work.call is not None:
                yield work.call.start_ns
                yield work.call.end_ns


@dataclass(frozen=True, slots=True)
class SyncLabel:
    """The cause of a synchronization, and the line of the user's that it belongs to."""

    code: str
    """Stable cause code, as SW101."""
    title: str
    file: str
    """`finding.NO_LINE` where no line was found."""
    line: int
    function: str


def label_name(label: SyncLabel | None) -> str:
    """Return what a wait is called on a time line: its cause code and its line; None is the runner's own."""
    if label is None:
        return "pacing"
    return f"{label.code} {label.file}" if label.file == NO_LINE else f"{label.code} {label.file}:{label.line}"
