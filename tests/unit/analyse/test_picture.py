"""What is drawn of the steps without a line: the times of a replay, with names and lanes, on the recording's clock."""

from __future__ import annotations

from dataclasses import replace

import pytest

from syncwatch.analyse import picture
from syncwatch.analyse.picture import steps_of
from syncwatch.analyse.replay.build import build
from syncwatch.analyse.replay.drawn import Drawn, drawn
from syncwatch.analyse.replay.graph import Graph
from syncwatch.analyse.replay.items import items_of
from syncwatch.analyse.sites import key_of_site, number_sites
from syncwatch.analyse.timeline import window_of
from syncwatch.model.analysis import AnalysedRecording, StepsWithout
from syncwatch.model.events import Direction
from syncwatch.pipeline import analysed
from tests.helpers.fakes import MS, US, gdn_session, nsys_session, recording, session, sync

STEP_NS = 4 * MS
"""Length of a step of the fixed session; the first is a warm-up."""


def naive() -> AnalysedRecording:
    return analysed(gdn_session()).recordings[0]


def graph_of(known: AnalysedRecording) -> Graph:
    numbers = number_sites(known.waits, window_of(known.recording))
    steps = [step for step in known.recording.steps if not step.warmup]
    items = items_of(known.recording, numbers.of_waits, steps, 0)
    return build(items, len(steps), knows_events=False, launch_watch=0)


def works_of(found: Drawn) -> dict[int, tuple[int, int]]:
    return {place: (start, end) for place, start, end in found.works}


def test_with_all_waits_the_works_of_the_recording_are_where_they_were() -> None:
    known = naive()
    found = drawn(graph_of(known))
    copies = [(each.start_ns or 0, each.end_ns or 0) for each in known.recording.copies or ()]
    recorded = sorted([*((each.start_ns, each.end_ns) for each in known.recording.kernels or ()), *copies])
    off = max(
        abs(a - b)
        for was, now in zip(recorded, sorted(works_of(found).values()), strict=True)
        for a, b in zip(was, now, strict=True)
    )
    assert off <= 20 * US and abs(found.end_ns - 4 * STEP_NS) <= 20 * US


def test_what_a_wait_held_begins_earlier_and_the_wait_with_its_copy_is_gone() -> None:
    known = naive()
    graph = graph_of(known)
    numbers = number_sites(known.waits, window_of(known.recording))
    mask = numbers.places[key_of_site(known.summary.sites[0])]
    before, after = drawn(graph), drawn(graph, (mask,))
    gone = {place for place, *_ in before.calls} - {place for place, *_ in after.calls}
    assert len(gone) == 2 * 3 and {graph.calls[place].site for place in gone} == {mask}
    assert after.end_ns < before.end_ns - 3 * 400 * US
    was, now = works_of(before), works_of(after)
    assert len(was) - len(now) == 3
    assert all(now[place][0] <= was[place][0] for place in now)
    assert all(end - start == graph.works[place].length for place, (start, end) in now.items())


def first(known: AnalysedRecording) -> StepsWithout:
    return steps_of(known)[0]


def test_the_steps_are_named_and_begin_where_those_of_the_recording_do() -> None:
    known = naive()
    found = first(known)
    assert found.site == 0 and len(found.steps) == 3
    assert found.steps[0][0] == STEP_NS and found.recorded_end_ns == 4 * STEP_NS
    gain = known.summary.sites[0].gain_us
    assert gain is not None and (found.recorded_end_ns - found.end_ns) / 3 / US == pytest.approx(gain, rel=0.05)
    assert {work.name for work in found.works} == {"gemm", "sample", "copy_kv", "copy D2H, 40 B"}
    assert {(work.device, work.stream) for work in found.works} == {(0, 7), (0, 9)}
    assert {work.name for work in found.works if work.direction is Direction.D2H} == {"copy D2H, 40 B"}
    assert {call.name for call in found.calls if call.waits} == {"cudaStreamSynchronize", "cudaDeviceSynchronize"}
    assert all(found.steps[0][0] <= call.end_ns and call.start_ns <= call.end_ns for call in found.calls)


def test_each_line_has_its_own_steps_up_to_as_many_as_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    known = naive()
    assert [each.site for each in steps_of(known)] == [0, 1, 2, 3]
    monkeypatch.setattr(picture, "MOST_SITES", 2)
    assert [each.site for each in steps_of(known)] == [0, 1]


def test_of_steps_with_many_calls_one_is_drawn_and_of_a_step_with_too_many_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = naive()
    monkeypatch.setattr(picture, "MOST_CALLS", 35)
    assert len(first(known).steps) == 1
    monkeypatch.setattr(picture, "MOST_CALLS", 5)
    assert steps_of(known) == ()


def test_where_no_gain_is_stated_nothing_is_drawn() -> None:
    assert steps_of(analysed(session(recording(syncs=[sync(at=(0, 10))], kernels=None))).recordings[0]) == ()
    older = naive()
    assert steps_of(replace(older, summary=replace(older.summary, replay=None))) == ()


def test_a_trace_is_drawn_too_and_a_run_without_steps_as_one() -> None:
    (known,) = analysed(nsys_session()).recordings
    assert [each.site for each in steps_of(known)] == [0, 1, 2]
    unmarked = replace(
        known.recording,
        steps=(),
        syncs=tuple(replace(each, step=None) for each in known.recording.syncs),
        kernels=tuple(replace(each, step=None) for each in known.recording.kernels or ()),
        copies=tuple(replace(each, step=None) for each in known.recording.copies or ()),
    )
    (whole,) = analysed(replace(nsys_session(), recordings=(unmarked,))).recordings
    assert all(len(each.steps) == 1 for each in steps_of(whole)) and steps_of(whole)
