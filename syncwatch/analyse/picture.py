"""Makes what is drawn of the first steps as they would be without the waits of a line, with names and lanes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from syncwatch.analyse.replay.build import build
from syncwatch.analyse.replay.drawn import Drawn, drawn
from syncwatch.analyse.replay.graph import Graph
from syncwatch.analyse.replay.items import Item, Started, items_of
from syncwatch.analyse.sites import key_of_site, number_sites
from syncwatch.analyse.timeline import begin_of, end_of, window_of
from syncwatch.model.analysis import AnalysedRecording, DrawnCall, DrawnWork, Span, StepsWithout
from syncwatch.model.events import Step
from syncwatch.model.session import Recording

MOST_SITES = 8
"""Lines that are drawn, those first whose removal gains most."""
MOST_STEPS = 3
MOST_CALLS = 2_000
"""Calls of the steps drawn; a first step that has more is not drawn, since each line has a drawing of its own."""


def steps_without(recordings: Iterable[AnalysedRecording]) -> tuple[tuple[StepsWithout, ...], ...]:
    """Return what is drawn of each recording of a run."""
    return tuple(map(steps_of, recordings))


def steps_of(known: AnalysedRecording) -> tuple[StepsWithout, ...]:
    """Return the first measured steps without each of the lines that gain most; none where no gain is stated."""
    recording, summary = known.recording, known.summary
    if summary.replay is None or summary.replay.unknown is not None:
        return ()
    numbers = number_sites(known.waits, window_of(recording))
    for count in (MOST_STEPS, 1):
        steps = _first_steps(recording, count)
        begin = max((each.start_ns for each in recording.steps if each.end_ns <= steps[0].start_ns), default=None)
        items = items_of(recording, numbers.of_waits, steps, steps[0].start_ns if begin is None else begin)
        if len(items) <= MOST_CALLS:
            break
    else:
        return ()
    events = recording.event_calls is not None
    graph = build(items, len(steps), knows_events=events, launch_watch=recording.launch_watch_ns)
    names = _Names(recording, items)
    return tuple(
        names.told(place, numbers.places[key_of_site(site)], graph, steps[0])
        for place, site in enumerate(summary.sites[:MOST_SITES])
        if site.gain_us is not None
    )


def _first_steps(recording: Recording, count: int) -> Sequence[Step]:
    """Return the first `count` measured steps; the whole run is one where none was marked."""
    measured = sorted((step for step in recording.steps if not step.warmup), key=lambda step: step.start_ns)
    return measured[:count] or [Step(0, False, begin_of(recording) or 0, end_of(recording))]


class _Names:
    """What the calls and the works of a graph are called: it keeps their order."""

    def __init__(self, recording: Recording, items: Sequence[Item]) -> None:
        self._items = items
        self._works = list(chain.from_iterable(item.works for item in items))
        self._kernels: dict[tuple[int, int | None, int], str] = {
            (each.device, each.stream, each.start_ns): each.name for each in recording.kernels or ()
        }

    def told(self, site: int, number: int, graph: Graph, first: Step) -> StepsWithout:
        """Return the steps without the site `number` of the graph, which is the line `site` of the report.

        They are moved so that the first begins where that of the recording does.
        """
        found = drawn(graph, (number,))
        marks = [start for place, start, _ in found.calls if graph.calls[place].mark >= 0]
        later = first.start_ns - marks[0]
        return StepsWithout(
            site=site,
            steps=tuple(_moved(span, later) for span in zip(marks[::2], marks[1::2], strict=True)),
            end_ns=found.end_ns + later,
            recorded_end_ns=first.start_ns + graph.recorded_ns[-1],
            calls=tuple(self._calls(found, number, graph, marks[0], later)),
            works=tuple(self._told_works(found, marks[0], later)),
        )

    def _calls(self, found: Drawn, number: int, graph: Graph, begin: int, later: int) -> Iterator[DrawnCall]:
        for place, start, end in found.calls:
            item = self._items[place]
            if item.mark >= 0 or item.event is not None or end < begin:
                continue
            held = bool(graph.calls[place].waits_for) and graph.calls[place].site != number
            # The runner's own pacing is nobody's wait.
            waits = held and item.sync is not None and not item.sync.pacing
            name = "launch" if item.sync is None else item.sync.api or item.sync.kind.api()
            yield DrawnCall(item.thread, name, *_moved((start, end), later), waits)

    def _told_works(self, found: Drawn, begin: int, later: int) -> Iterator[DrawnWork]:
        for place, start, end in found.works:
            if end < begin:
                continue
            work = self._works[place]
            device, stream = work.stream
            direction = None if work.copy is None else work.copy.direction
            yield DrawnWork(device, stream, self._name(work), direction, *_moved((start, end), later))

    def _name(self, work: Started) -> str:
        if work.copy is not None:
            return f"copy {work.copy.direction.value.upper()}, {work.copy.bytes:,} B"
        return self._kernels.get((*work.stream, work.start), "kernels")


def _moved(span: Span, later: int) -> Span:
    return span[0] + later, span[1] + later
