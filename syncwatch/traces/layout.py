"""Answers: where does each variant lie on the one time line of a trace file?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from syncwatch.model.session import Recording, Session

GAP_NS = 1_000_000
"""Between two variants that had to be moved apart; a millisecond is seen at every zoom."""
FIRST_NS = 1_000
"""Where the first event lies: nsys leaves out rows that start at 0."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A recording with its place in the file."""

    recording: Recording
    shift_ns: int
    """To be added to every time of the recording."""
    start_ns: int
    """Its first moment, in the time of the file."""
    end_ns: int
    """Its last moment, in the time of the file."""


def laid_out(session: Session) -> tuple[Placed, ...]:
    """Return the recordings of `session` one after another: virtual clocks all begin at zero and would lie on top.

    The distance of recordings that do not overlap is kept. The first begins at `FIRST_NS`.
    """
    placed: list[Placed] = []
    origin: int | None = None
    for recording in session.recordings:
        first, last = extent_of(recording)
        if origin is None:
            origin = first - FIRST_NS
        free = placed[-1].end_ns if placed else 0
        shift = -origin if first - origin > free else free + GAP_NS - first
        placed.append(Placed(recording, shift, first + shift, last + shift))
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
