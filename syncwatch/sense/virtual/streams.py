"""Answers: when does everything happen on a GPU that is not there? Streams, copy engines and host clocks; no torch.

Each thread has a host clock, each stream the time at which its queue runs empty, each copy engine the time at which it
is free. A launch moves the host on by what launching costs; a wait moves it to the end of what it waits for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, NewType

StreamId = NewType("StreamId", int)
ThreadId = NewType("ThreadId", int)

DEFAULT_STREAM = StreamId(0)


class Span(NamedTuple):
    """A stretch of virtual time, in ns; a tuple because one is made for every operator."""

    start: int
    end: int

    @property
    def length(self) -> int:
        """How long it lasts."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Moment:
    """A point on a stream that an event marks."""

    stream: StreamId
    at: int
    """When everything queued before it is done."""


@dataclass(slots=True)
class VirtualClock:
    """The time of every host thread, stream and copy engine of one device."""

    _hosts: dict[int, int] = field(default_factory=dict)
    _tails: dict[int, int] = field(default_factory=lambda: {DEFAULT_STREAM: 0})
    _engines: dict[str, int] = field(default_factory=dict)
    _streams: int = 0

    def new_stream(self) -> StreamId:
        """Return a stream that nothing is queued on."""
        self._streams += 1
        return StreamId(self._streams)

    def host(self, thread: ThreadId) -> int:
        """Return the time of `thread`; a new thread starts when the latest one is."""
        now = self._hosts.get(thread)
        if now is None:
            now = self._hosts[thread] = max(self._hosts.values(), default=0)
        return now

    def work(self, thread: ThreadId, duration: int) -> int:
        """Let the host compute for `duration`, and return its new time."""
        try:
            now = self._hosts[thread] = self._hosts[thread] + duration
        except KeyError:
            now = self._hosts[thread] = self.host(thread) + duration
        return now

    def tail(self, stream: StreamId) -> int:
        """Return when everything queued on `stream` is done."""
        return self._tails.get(stream, 0)

    def launch(self, thread: ThreadId, stream: StreamId, cost: int, duration: int) -> Span:
        """Queue a kernel of `duration`: the host pays `cost`, the kernel starts once the stream is free."""
        # Once an operator, so without further calls.
        hosts, tails = self._hosts, self._tails
        now = (hosts[thread] if thread in hosts else self.host(thread)) + cost
        hosts[thread] = now
        tail = tails.get(stream, 0)
        start = tail if tail > now else now
        end = tails[stream] = start + duration
        return Span(start, end)

    def copy(self, thread: ThreadId, stream: StreamId, engine: str, cost: int, duration: int) -> Span:
        """Queue a copy: it waits for its stream and for its engine, which copies of one direction share."""
        now = self.work(thread, cost)
        start = max(self._tails.get(stream, 0), self._engines.get(engine, 0), now)
        end = self._tails[stream] = self._engines[engine] = start + duration
        return Span(start, end)

    def wait(self, thread: ThreadId, until: int, cost: int) -> Span:
        """Let the host stand still until `until`, plus what the call itself costs; return the stretch of the wait."""
        start = self.host(thread)
        end = self._hosts[thread] = max(start, until) + cost
        return Span(start, end)

    def wait_stream(self, thread: ThreadId, stream: StreamId, cost: int) -> Span:
        """Let the host wait for everything queued on `stream`."""
        return self.wait(thread, self.tail(stream), cost)

    def wait_device(self, thread: ThreadId, cost: int) -> Span:
        """Let the host wait for every stream."""
        return self.wait(thread, self.busy_until(), cost)

    def busy_until(self) -> int:
        """Return when every stream is empty."""
        return max(self._tails.values(), default=0)

    def mark(self, thread: ThreadId, stream: StreamId) -> Moment:
        """Record an event: it passes once everything queued on `stream` is done, and not before now."""
        return Moment(stream, max(self.host(thread), self.tail(stream)))

    def hold(self, stream: StreamId, moment: Moment) -> None:
        """Let `stream` wait for `moment`; the host goes on."""
        self._tails[stream] = max(self.tail(stream), moment.at)

    def passed(self, thread: ThreadId, moment: Moment) -> bool:
        """Return whether `moment` lies behind the host."""
        return moment.at <= self.host(thread)

    def idle(self, thread: ThreadId, stream: StreamId) -> bool:
        """Return whether `stream` is empty."""
        return self.tail(stream) <= self.host(thread)


def elapsed_ms(start: Moment, end: Moment) -> float:
    """Return the time between two events in ms, as `Event.elapsed_time` does."""
    return (end.at - start.at) / 1e6


Clock = Callable[[], int]
