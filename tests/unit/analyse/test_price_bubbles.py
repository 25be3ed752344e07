"""The time that the GPU idled after a wait is right in known cases, and never more than its idle time in any."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncwatch.analyse.price import bubbles
from syncwatch.analyse.timeline import union
from syncwatch.model.analysis import Span

END = 1_000


@pytest.mark.parametrize(
    ("waits", "busy", "expected"),
    [
        pytest.param([(10, 100)], [(0, 95), (140, 200)], [45], id="from-the-end-of-the-queue-to-the-next-kernel"),
        pytest.param([(10, 100)], [(0, 300)], [0], id="work-was-queued-behind"),
        pytest.param([(10, 100)], [(0, 95), (98, 300)], [0], id="work-began-before-the-host-resumed"),
        pytest.param([(10, 100)], [(0, 95), (100, 300)], [0], id="work-begins-as-the-host-resumes"),
        pytest.param([(50, 60)], [(0, 20), (90, 95)], [40], id="idle-before-the-wait-is-not-its-own"),
        pytest.param([(10, 100)], [(0, 90)], [910], id="bounded-by-the-end-of-the-recording"),
        pytest.param([(10, 20)], [], [990], id="nothing-ever-ran"),
        pytest.param([(10, 100), (120, 130)], [(0, 95), (200, 300)], [25, 80], id="the-next-wait-takes-over"),
        pytest.param([(10, 100), (20, 110)], [(0, 90), (200, 300)], [110, 0], id="two-threads-are-charged-once"),
        pytest.param([(120, 130), (10, 100)], [(0, 95), (200, 300)], [80, 25], id="any-order"),
        pytest.param([(100, 100)], [(0, 95), (140, 150)], [40], id="a-wait-of-no-length"),
        pytest.param([(10, 100)], [(0, 40), (60, 95), (120, 130)], [25], id="a-gap-within-the-wait-is-not-counted"),
        pytest.param([], [(0, 10)], [], id="no-wait"),
    ],
)
def test_known_bubbles(waits: list[Span], busy: list[Span], expected: list[int]) -> None:
    assert lengths(waits, tuple(busy)) == expected


def lengths(waits: list[Span], busy: tuple[Span, ...]) -> list[int]:
    return [end - start for start, end in bubbles(waits, busy, END)]


def spans(most: int) -> st.SearchStrategy[list[Span]]:
    moment = st.integers(0, END)
    return st.lists(st.tuples(moment, moment).map(lambda pair: (min(pair), max(pair))), max_size=most)


@given(spans(12), spans(12))
def test_bubbles_are_never_negative_and_never_more_than_the_idle_time(waits: list[Span], work: list[Span]) -> None:
    busy = union(work)
    charged = lengths(waits, busy)

    idle = END - sum(end - start for start, end in busy)
    assert len(charged) == len(waits)
    assert all(gap >= 0 for gap in charged)
    assert sum(charged) <= idle


@given(spans(12), spans(12))
def test_the_order_of_recording_does_not_change_the_sum(waits: list[Span], work: list[Span]) -> None:
    busy = union(work)
    shuffled = sorted(waits)
    assert sum(lengths(waits, busy)) == sum(lengths(shuffled, busy))


@given(spans(12), spans(12))
def test_the_gpu_never_works_in_a_bubble(waits: list[Span], work: list[Span]) -> None:
    busy = union(work)
    for low, high in bubbles(waits, busy, END):
        assert all(end <= low or high <= start for start, end in busy) or low == high
