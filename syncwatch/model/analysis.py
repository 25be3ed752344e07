"""What one run comes to: everything that a report, a picture, a trace or a verdict needs, computed once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from syncwatch.model.finding import Report, Variant
from syncwatch.model.session import Recording, Session
from syncwatch.model.wait import Wait


@dataclass(frozen=True, slots=True)
class AnalysedRecording:
    """One recording, each of its waits with its line and its price, and what they add up to."""

    recording: Recording
    waits: tuple[Wait, ...]
    """Every wait in the order of `recording.syncs`, the runner's pacing too."""
    variant: Variant


@dataclass(frozen=True, slots=True)
class Analysis:
    """A session with its recordings analysed, and the report of them."""

    session: Session
    recordings: tuple[AnalysedRecording, ...]
    """In the order of `session.recordings`."""
    report: Report

    def unwatched(self, sentences: Iterable[str]) -> Analysis:
        """Return the same with more that ran as part of the target and was not watched; no wait changes by it."""
        known = (*self.session.unwatched, *sentences)
        return replace(
            self, session=replace(self.session, unwatched=known), report=replace(self.report, unwatched=known)
        )
