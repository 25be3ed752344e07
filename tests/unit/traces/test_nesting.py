"""Spans and named ranges of a host thread around a moment, however deep they lie and wherever they cross."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from syncwatch.model.events import RangeEvent
from syncwatch.traces.nesting import MAX_NESTED, Nesting, Nests, Spans


def test_spans_around_a_moment_are_told_even_a_million_deep() -> None:
    spans, depth = Spans(), 1_000_000
    for number in range(depth):
        spans.add(number, number, 3 * depth - number)
    nesting = Nesting(spans)
    assert nesting.around(depth // 2, most=3) == [depth // 2, depth // 2 - 1, depth // 2 - 2]
    assert nesting.around(3 * depth) == []
    assert nesting.around(2 * depth + 5)[0] == depth - 6


def test_spans_that_cross_end_when_each_ends() -> None:
    spans = Spans()
    for name, (start, end) in enumerate([(0, 10), (5, 15), (20, 30), (20, 25), (40, 40)]):
        spans.add(name, start, end)
    nesting = Nesting(spans)
    assert {moment: nesting.around(moment) for moment in (-1, 0, 7, 14, 15, 22, 27, 40, 99)} == {
        -1: [],
        0: [0],
        7: [1, 0],
        14: [1],
        15: [],
        22: [3, 2],
        27: [2],
        40: [],
        99: [],
    }


def test_nests_are_cut_at_their_outer_end() -> None:
    nests = Nests([RangeEvent(0, str(depth), depth, 1000 - depth) for depth in range(100)])
    assert nests.around(0, 500) == 0
    assert nests.names == [tuple(str(depth) for depth in range(100 - MAX_NESTED, 100))]


SPANS = st.tuples(st.integers(0, 60), st.integers(0, 30)).map(lambda pair: (pair[0], sum(pair)))


@given(st.lists(SPANS, max_size=20), st.lists(st.integers(0, 90), max_size=20).map(sorted))
def test_nests_hold_what_a_search_of_all_ranges_finds(ranges: list[tuple[int, int]], moments: list[int]) -> None:
    known = [RangeEvent(0, str(number), *span) for number, span in enumerate(ranges)]
    nests = Nests(known)
    for moment in moments:
        found = nests.around(0, moment)
        expected = {each.name for each in known if each.start_ns <= moment < each.end_ns}
        assert set(nests.names[found] if found is not None else ()) == expected
