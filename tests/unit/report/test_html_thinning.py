"""Large runs are thinned for the HTML timeline: every wait stays where there is room, and nothing is lost silently."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from syncwatch.model.events import KernelEvent, RangeEvent
from syncwatch.model.session import Recording
from syncwatch.pipeline import analysed_recording
from syncwatch.report.html.lanes import MAX_DEPTH, BlockStyle, LaneKind, lanes_of
from syncwatch.report.html.thinning import MAX_LANES, DrawnRecording, thin_out
from tests.helpers.fakes import copy, recording, steps, sync
from tests.helpers.pages import busy_session


def thinned(recorded: Recording, budget: int) -> DrawnRecording:
    return thin_out(recorded, lanes_of(recorded), analysed_recording(recorded).waits, budget)


def naive(*, steps: int = 6, kernels: int = 400, waits: int = 4) -> Recording:
    return busy_session(steps=steps, kernels=kernels, waits=waits).recordings[0]


def test_what_fits_is_left_as_it_is_and_nothing_is_said() -> None:
    recorded = naive()
    drawn = thinned(recorded, 1_000_000)

    assert drawn.lanes == lanes_of(recorded)
    assert not drawn.notes


def test_thinning_keeps_within_the_budget_and_says_how() -> None:
    recorded = naive()
    total = sum(len(lane.blocks) for lane in lanes_of(recorded))
    drawn = thinned(recorded, 2_000)

    assert total > 4_000 and drawn.events <= 2_000
    blocks = sum(len(lane.blocks) for lane in drawn.lanes)
    assert f"{blocks:,} blocks stand for {total:,} events" in drawn.notes[0]


def test_every_event_is_in_exactly_one_block() -> None:
    recorded = naive()
    for before, after in zip(lanes_of(recorded), thinned(recorded, 1_500).lanes, strict=True):
        assert sum(block.events for block in after.blocks) == len(before.blocks)
        busy = sum(block.end_ns - block.start_ns for block in before.blocks)
        assert busy == sum(block.busy_ns or block.end_ns - block.start_ns for block in after.blocks)


def test_all_waits_stay_and_no_block_covers_one() -> None:
    recorded = naive()
    drawn = thinned(recorded, 1_500)

    assert len(drawn.waits) == len(recorded.syncs)
    starts = [wait.sync.start_ns or 0 for wait in drawn.waits]
    merged = [block for lane in drawn.lanes for block in lane.blocks if block.look is BlockStyle.MERGED]
    assert merged
    assert not [block for block in merged for start in starts if block.start_ns < start < block.end_ns]


def test_the_first_measured_steps_are_drawn_whole() -> None:
    recorded = naive()
    drawn = thinned(recorded, 4_000)
    first = next(step for step in recorded.steps if not step.warmup)

    assert drawn.notes[0].startswith("Outside the first ")
    inside = [
        block
        for lane in drawn.lanes
        for block in lane.blocks
        if first.start_ns <= block.start_ns < first.end_ns and lane.kind is not LaneKind.RANGES
    ]
    assert inside and all(block.events == 1 for block in inside)


def test_alike_gaps_do_not_become_one_block() -> None:
    kernels = [KernelEvent(0, 7, "k", 10 * index, 10 * index + 8) for index in range(10_000)]
    (lane,) = thinned(recording(kernels=kernels, steps=steps(1)), 1_000).lanes

    assert 200 <= len(lane.blocks) <= 1_000


def test_more_waits_than_there_is_room_for_are_counted() -> None:
    syncs = [sync(0, at=(10 * index, 10 * index + 5)) for index in range(400)]
    drawn = thinned(recording(syncs=syncs, steps=steps(1)), 100)

    assert len(drawn.waits) == 50
    assert drawn.notes == ("Only the first 50 of 400 waits are drawn.",)


def test_streams_and_depths_beyond_the_page_are_counted() -> None:
    kernels = [KernelEvent(0, stream, "k", stream, stream + 1) for stream in range(MAX_LANES + 6)]
    deep = tuple(RangeEvent(0, f"r{depth}", depth, 1_000 - depth) for depth in range(MAX_DEPTH + 3))
    drawn = thinned(replace(recording(kernels=kernels, steps=steps(1)), ranges=deep), 1_000_000)

    assert len(drawn.lanes) == MAX_LANES
    assert drawn.notes == (
        "7 lanes with the fewest events left out.",
        "3 ranges nested deeper than the rows drawn left out.",
    )


@given(
    spans=st.lists(st.tuples(st.integers(0, 5_000), st.integers(0, 50)), max_size=300),
    waits=st.lists(st.tuples(st.integers(0, 5_000), st.integers(1, 60)), max_size=20),
    budget=st.integers(1, 400),
)
@settings(max_examples=60, deadline=None)
def test_no_event_is_lost_whatever_the_budget(
    spans: list[tuple[int, int]], waits: list[tuple[int, int]], budget: int
) -> None:
    kernels = [KernelEvent(0, 7, "k", start, start + length) for start, length in spans]
    syncs = [sync(0, at=(start, start + length)) for start, length in waits]
    drawn = thinned(recording(kernels=kernels, syncs=syncs, steps=steps(1)), budget)

    assert sum(block.events for lane in drawn.lanes for block in lane.blocks) == len(kernels)
    for lane in drawn.lanes:
        assert list(lane.blocks) == sorted(lane.blocks)


def test_a_copy_of_an_unknown_stream_has_a_lane_of_its_own() -> None:
    copies = [replace(copy(0, at=(5, 9)), stream=None), replace(copy(0, at=(1, 4)), stream=7)]
    lanes = lanes_of(recording(copies=copies, kernels=[KernelEvent(0, 7, "k", 0, 1, device=1)], steps=steps(1)))

    assert [lane.label for lane in lanes] == ["GPU 0 · stream 7", "GPU 0 · unknown stream", "GPU 1 · stream 7"]
