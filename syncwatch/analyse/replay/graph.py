"""What a replay runs over: the calls of each host thread with the host's own time between them, and the GPU's work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

NO_SITE = -1
"""The site of a call that no line's wait asked for."""


class Work(NamedTuple):
    """A kernel, a copy, or all that one launch of a CUDA graph started; times in ns."""

    stream: int
    """A number that no two streams of two GPUs share."""
    length: int
    latency: int
    """From the begin of the call that queued it to its own, where nothing held it on the GPU."""
    gap: int
    """From the end of the work before it in its stream to its own begin, where the stream was what held it."""
    after: tuple[tuple[int, int], ...]
    """Work of other streams that an event made it wait for, with the gap behind each."""
    unheld: int
    """Its length if the wait of its site is gone, as an upload from pinned memory is faster."""


class HostCall(NamedTuple):
    """One call of a host thread; times in ns."""

    thread: int
    own: int
    """The host's own time since the call before it on this thread, without what watching took."""
    watching: int
    """What watching took of the time since the call before it."""
    length: int
    """What the call takes where it need not wait."""
    works: tuple[int, ...]
    """What it puts on the GPU, by place."""
    waits_for: tuple[int, ...]
    """The work that must be done before it returns, by place."""
    wake: int
    """From the end of that work to its return."""
    site: int
    """The site whose wait it is, or which it served alone; `NO_SITE` for another."""
    unheld: int | None
    """What it takes if the wait of its site is gone; None where the call is gone with it."""
    follows: tuple[int, int] | None
    """The call of another thread that this thread waited for, by place, and the own time since its end."""
    mark: int
    """Which border between steps this is, which takes no time; -1 for a call."""


@dataclass(frozen=True, slots=True)
class Graph:
    """Part of a recording, ready to be replayed."""

    calls: tuple[HostCall, ...]
    """In the order in which they began."""
    works: tuple[Work, ...]
    streams: int
    threads: int
    begin_ns: int
    """When the first call began."""
    steps: int
    """How many steps it holds; the border of mark `2 * n` begins the step n, the next ends it."""
    recorded_ns: tuple[int, ...]
    """When each step was complete, after the begin of the first: the host had ended it, and the GPU all its work."""
    launch_watch: int
    """What watching took of each launch, in ns."""
