"""What one run comes to, computed once: each wait with its line and price, and all that a report or a verdict needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from syncwatch.model.events import Direction, SyncEvent
from syncwatch.model.report import RecordingSummary, Report
from syncwatch.model.session import Recording, Session

Span = tuple[int, int]
"""Start and end in nanoseconds."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of user code and why it waits; each field is one of `Site` too, where it is explained."""

    code: str
    title: str
    hint: str
    explicit: bool
    file: str
    """`NO_LINE` where there is none."""
    line: int
    function: str
    source: str
    expression: str | None
    range: str | None = None
    exact_line: bool = True


@dataclass(frozen=True, slots=True)
class Price:
    """What one wait cost, in nanoseconds."""

    blocked_ns: int
    drain_ns: int | None
    """The part of `blocked_ns` in which what was waited for still ran; None where the GPU's work was not recorded."""
    bubble: Span | None
    """When the whole GPU that was waited for then had nothing to do: the bubble."""
    stream_bubble: Span | None
    """When the stream that was waited for then had nothing to do."""

    @property
    def overhead_ns(self) -> int | None:
        """Return the part of `blocked_ns` that is the call itself and the waking up."""
        return None if self.drain_ns is None else self.blocked_ns - self.drain_ns

    @property
    def bubble_ns(self) -> int | None:
        """Return the length of `bubble`."""
        return None if self.bubble is None else self.bubble[1] - self.bubble[0]

    @property
    def stream_bubble_ns(self) -> int | None:
        """Return the length of `stream_bubble`."""
        return None if self.stream_bubble is None else self.stream_bubble[1] - self.stream_bubble[0]


@dataclass(frozen=True, slots=True)
class AnalysedWait:
    """One synchronization with what is known of it."""

    sync: SyncEvent
    finding: Finding | None
    """None for the runner's own pacing, which is nobody's line."""
    price: Price | None
    """None where it has no time."""

    @property
    def explicit(self) -> bool:
        """Return whether the user asked for it."""
        return self.finding is not None and self.finding.explicit

    @property
    def bubble(self) -> Span | None:
        """Return the bubble behind it; None where it was not measured."""
        return None if self.price is None else self.price.bubble


@dataclass(frozen=True, slots=True)
class AnalysedRecording:
    """One recording, each of its waits with its line and its price, and what they add up to."""

    recording: Recording
    waits: tuple[AnalysedWait, ...]
    """Every wait in the order of `recording.syncs`, the runner's pacing too."""
    summary: RecordingSummary


@dataclass(frozen=True, slots=True)
class DrawnCall:
    """A call of the host as it would be."""

    thread: int
    name: str
    start_ns: int
    end_ns: int
    waits: bool
    """Whether it is a wait that is still there."""


@dataclass(frozen=True, slots=True)
class DrawnWork:
    """A kernel or a copy as it would be."""

    device: int
    stream: int | None
    name: str
    direction: Direction | None
    """Of a copy; None for a kernel."""
    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class StepsWithout:
    """The first measured steps as they would be without the waits of one line; times on the recording's clock."""

    site: int
    """The line, by its place in `RecordingSummary.sites`."""
    steps: tuple[Span, ...]
    """When the host began and ended each."""
    end_ns: int
    """When the GPU had done its work too."""
    recorded_end_ns: int
    """The same with all waits, as it was recorded."""
    calls: tuple[DrawnCall, ...]
    works: tuple[DrawnWork, ...]


@dataclass(frozen=True, slots=True)
class Analysis:
    """A session with its recordings analysed, and the report of them."""

    session: Session
    recordings: tuple[AnalysedRecording, ...]
    """In the order of `session.recordings`."""
    report: Report
    without: Callable[[], tuple[tuple[StepsWithout, ...], ...]] = field(default=tuple, compare=False)
    """Gives, for each recording, the steps that are drawn without a line; replayed when somebody draws them."""

    def unwatched(self, sentences: Iterable[str]) -> Analysis:
        """Return the same with more that ran as part of the target and was not watched; no wait changes by it."""
        known = (*self.session.unwatched, *sentences)
        return replace(
            self, session=replace(self.session, unwatched=known), report=replace(self.report, unwatched=known)
        )
