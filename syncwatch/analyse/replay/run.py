"""One replay: every call and all work get their times again, with some of the waits gone."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from syncwatch.analyse.replay.graph import NO_SITE, Graph

QUEUE_LENGTH = 1024
"""Launches that a stream takes before the host has to wait; measured on an H200 (driver 580) with empty kernels."""
_WHOLE = 1000


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay gave; times in ns."""

    complete_ns: tuple[int, ...]
    """When each step was complete, after the begin of the first."""
    waited_ns: dict[int, int]
    """For how long the calls of each site held the host for the GPU."""

    @property
    def total_ns(self) -> int:
        """How long all steps took together."""
        return self.complete_ns[-1]


@dataclass(slots=True)
class Times:
    """When each call began and returned and each work was done, by place; filled by a replay that is asked for it."""

    begun: list[int] = field(default_factory=list)
    returned: list[int] = field(default_factory=list)
    done: list[int] = field(default_factory=list)


def replay(
    graph: Graph,
    without: Collection[int] = (),
    *,
    watched: bool = False,
    own_permille: int = _WHOLE,
    times: Times | None = None,
) -> Replayed:
    """Return what the steps of `graph` take without the waits of some sites.

    A call begins after the one before it and the host's own time. Work begins when its call has reached the GPU, its
    stream is free and the events it waits for have passed. A wait ends when what it waits for is done and the host has
    woken up.

    Args:
        graph: what was recorded.
        without: the sites whose waits are gone.
        watched: whether the time that watching took is in it, as in the recording.
        own_permille: by how much the host's own time is scaled, in thousandths.
        times: takes the times of all calls and work, for who draws them.
    """
    gone = frozenset(without)
    now = [graph.begin_ns] * graph.threads
    free = [-(1 << 62)] * graph.streams
    queued: list[list[int]] = [[] for _ in range(graph.streams)]
    done = [0] * len(graph.works)
    begun, returned = [0] * len(graph.calls), [0] * len(graph.calls)
    waited: dict[int, int] = {}
    complete: list[int] = []
    queued_works: list[tuple[int, int]] = []
    """When each work was asked for and is done, of those that no step has counted yet."""
    first = latest = 0
    works, launch_watch = graph.works, 0 if watched else graph.launch_watch
    for place, (thread, own, watching, length, started, waits_for, wake, site, unheld, follows, mark) in enumerate(
        graph.calls
    ):
        if own_permille != _WHOLE:
            own = own * own_permille // _WHOLE
        if watched:
            own += watching
        begin = (now[thread] if follows is None else max(now[thread], returned[follows[0]])) + (
            own if follows is None else follows[1]
        )
        begun[place] = begin
        if mark >= 0:
            now[thread] = returned[place] = begin
            if mark == 0:
                first = latest = begin
            elif mark & 1:
                # Of another thread the replay may be further than this step is.
                latest = max(latest, begin, *(end for called, end in queued_works if called <= begin))
                queued_works = [each for each in queued_works if each[0] > begin]
                complete.append(latest - first)
            continue
        removed = site != NO_SITE and site in gone
        if removed:
            if unheld is None:
                now[thread] = returned[place] = begin
                for number in started:
                    done[number] = free[works[number].stream]
                continue
            length = unheld
        elif started and launch_watch:
            length = max(0, length - launch_watch)
        end = begin + length
        for number in started:
            stream, long, latency, gap, after, fast = works[number]
            ready = max(begin + latency, free[stream] + gap)
            for other, behind in after:
                ready = max(ready, done[other] + behind)
            depth = queued[stream]
            if len(depth) >= QUEUE_LENGTH and depth[-QUEUE_LENGTH] > end:
                end = depth[-QUEUE_LENGTH]
            depth.append(ready)
            done[number] = free[stream] = max(free[stream], ready + (fast if removed else long))
            queued_works.append((begin, free[stream]))
        if waits_for and not removed:
            ready = max([done[number] for number in waits_for]) + wake
            if ready > end:
                waited[site] = waited.get(site, 0) + ready - end
                end = ready
        now[thread] = returned[place] = end
    if times is not None:
        times.begun, times.returned, times.done = begun, returned, done
    return Replayed(tuple(complete), waited)
