"""The virtual clock as Python sees it; it is kept in C++ (`native/clock.h`), where operators are launched.

Each thread has a host clock, each stream the time at which its queue runs empty, each copy engine the time at which it
is free. A launch moves the host on by what launching costs; a wait moves it to the end of what it waits for. Everything
is of the calling thread.
"""

from __future__ import annotations

from ctypes import byref, c_int64
from dataclasses import dataclass
from typing import Any, NamedTuple, NewType

from syncwatch.sense.virtual.native.library import SpanOut, calls

StreamId = NewType("StreamId", int)

DEFAULT_STREAM = StreamId(0)
_SEVEN = c_int64 * 7
_ENGINES = {"h2d": 0, "d2h": 1, "d2d": 2}


class Span(NamedTuple):
    """A stretch of virtual time, in ns."""

    start: int
    end: int

    @property
    def length(self) -> int:
        """How long it lasts."""
        return self.end - self.start


class WaitedCopy(NamedTuple):
    """A copy that the host waited for; moments of virtual time, in ns."""

    stream: StreamId
    start: int
    end: int
    called: int
    returned: int
    waited_from: int
    waited_until: int


@dataclass(frozen=True, slots=True)
class Moment:
    """A point on a stream that an event marks."""

    stream: StreamId
    at: int
    """When everything queued before it is done."""


class DeviceClock:
    """The time of every host thread, stream and copy engine of the device that is on."""

    __slots__ = ("_calls",)

    def __init__(self) -> None:
        self._calls: Any = calls()

    def new_stream(self, priority: int = 0) -> StreamId:
        """Return the next stream of a priority; there are 32 of each, given in turn as torch does."""
        return StreamId(self._calls.sw_new_stream(priority))

    def stream(self) -> StreamId:
        """Return the current stream."""
        return StreamId(self._calls.sw_stream())

    def set_stream(self, stream: StreamId) -> None:
        """Make `stream` the current one."""
        self._calls.sw_set_stream(stream)

    def host(self) -> int:
        """Return the time of the thread; a new thread starts when the latest one is."""
        return int(self._calls.sw_now())

    def work(self, duration: int) -> int:
        """Let the host compute for `duration`, and return its new time."""
        return int(self._calls.sw_work(duration))

    def tail(self, stream: StreamId) -> int:
        """Return when everything queued on `stream` is done."""
        return int(self._calls.sw_tail(stream))

    def launch(self, stream: StreamId, cost: int, duration: int) -> Span:
        """Queue a kernel of `duration`: the host pays `cost`, the kernel starts once the stream is free."""
        return _span(self._calls.sw_queue, stream, cost, duration)

    def copy(self, stream: StreamId, engine: str, cost: int, duration: int) -> Span:
        """Queue a copy: it waits for its stream and for its engine, which copies of one direction share."""
        return _span(self._calls.sw_copy, stream, _ENGINES[engine], cost, duration)

    def copy_and_wait(self, engine: str, cost: int, duration: int, back: int) -> WaitedCopy:
        """Queue a copy on the current stream, and let the host wait until the stream is empty, in one call of C++."""
        numbers = _SEVEN()
        self._calls.sw_copy_and_wait(_ENGINES[engine], cost, duration, back, numbers)
        return WaitedCopy(*numbers)

    def wait(self, until: int, cost: int) -> Span:
        """Let the host stand still until `until`, plus what the call itself costs; return the stretch of the wait."""
        return _span(self._calls.sw_wait, until, cost)

    def wait_device(self, cost: int) -> Span:
        """Let the host wait for every stream."""
        return self.wait(self.busy_until(), cost)

    def busy_until(self) -> int:
        """Return when every stream is empty."""
        return int(self._calls.sw_busy_until())

    def mark(self, stream: StreamId) -> Moment:
        """Record an event: it passes once everything queued on `stream` is done, and not before now."""
        return Moment(stream, max(self.host(), self.tail(stream)))

    def hold(self, stream: StreamId, moment: Moment) -> None:
        """Let `stream` wait for `moment`; the host goes on."""
        self._calls.sw_hold(stream, moment.at)

    def passed(self, moment: Moment) -> bool:
        """Return whether `moment` lies behind the host."""
        return moment.at <= self.host()

    def idle(self, stream: StreamId) -> bool:
        """Return whether `stream` is empty."""
        return self.tail(stream) <= self.host()


def _span(function: Any, *numbers: int) -> Span:
    span = SpanOut()
    function(*numbers, byref(span))
    return Span(span.start, span.end)


def elapsed_ms(start: Moment, end: Moment) -> float:
    """Return the time between two events in ms, as `Event.elapsed_time` does."""
    return (end.at - start.at) / 1e6
