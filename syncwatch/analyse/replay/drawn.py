"""Says when each call and each work of a graph would begin and end without some waits, for who draws it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from syncwatch.analyse.replay.graph import NO_SITE, Graph
from syncwatch.analyse.replay.run import Times, replay

Placed = tuple[int, int, int]
"""The place of a call or a work in its graph, and when it began and ended, in ns."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """One replay, in times."""

    calls: tuple[Placed, ...]
    """Those that are still there, the borders between steps too."""
    works: tuple[Placed, ...]
    end_ns: int
    """When the last step was complete."""


def drawn(graph: Graph, without: Collection[int] = ()) -> Drawn:
    """Return the times of all that is left of `graph` without the waits of some sites.

    What watching took is in them, as in the recording, so that they can be drawn under it.

    Args:
        graph: what was recorded.
        without: the sites whose waits are gone.
    """
    times = Times()
    complete = replay(graph, without, watched=True, times=times).complete_ns
    gone = frozenset(without)
    calls: list[Placed] = []
    works: list[Placed] = []
    first = graph.begin_ns
    for place, (call, begin, end) in enumerate(zip(graph.calls, times.begun, times.returned, strict=True)):
        removed = call.site != NO_SITE and call.site in gone
        if call.mark == 0:
            first = begin
        if removed and call.unheld is None:
            continue
        calls.append((place, begin, end))
        for number in call.works:
            done, work = times.done[number], graph.works[number]
            works.append((number, done - (work.unheld if removed else work.length), done))
    return Drawn(tuple(calls), tuple(works), first + complete[-1])
