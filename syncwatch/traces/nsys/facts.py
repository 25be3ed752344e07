"""Answers: what of a session has no place in nsys' tables? Written to a table of our own, for the way back."""

from __future__ import annotations

from dataclasses import dataclass

from syncwatch.model.session import Recording

SESSION_KEY = "session"
COUNT_KEY = "count"


def recording_key(number: int) -> str:
    """Return under which key of SYNCWATCH_SESSION the recording `number` stands."""
    return f"recording {number}"


@dataclass(frozen=True, slots=True)
class RecordingFacts:
    """A recording without its events, and how its events are found in the file."""

    recording: Recording
    """`syncs` and `ranges` are empty; `copies` and `kernels` too, or None where none were recorded. The steps keep the
    recording's own clock."""
    shift_ns: int
    """What was added to every time of its events."""
    global_tids: tuple[int, ...]
    """The globalTid of each of its threads."""
    call_lengths_ns: dict[int, int]
    """How long a call really lasted whose row was made longer by a wait inside, by correlation id."""
    events: int
    """How many rows hold its events, so that a file from which some were cut is known by it."""


def count_events(recording: Recording) -> int:
    """Return how many events `recording` has."""
    return sum(map(len, (recording.syncs, recording.copies or (), recording.kernels or (), recording.ranges)))
