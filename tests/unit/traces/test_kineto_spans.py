"""Spans of a host thread around a moment, however deep they lie and wherever they cross."""

from __future__ import annotations

from syncwatch.traces.nesting import Nesting, Spans


def test_spans_around_a_moment_are_told_even_a_million_deep() -> None:
    spans, depth = Spans(), 1_000_000
    for number in range(depth):
        spans.add(number, number, 3 * depth - number)
    nesting = Nesting(spans)
    around = nesting.around(depth // 2)
    assert [next(around) for _ in range(3)] == [depth // 2, depth // 2 - 1, depth // 2 - 2]
    assert list(nesting.around(3 * depth)) == []
    assert next(nesting.around(2 * depth + 5)) == depth - 6


def test_spans_that_cross_end_when_each_ends() -> None:
    spans = Spans()
    for name, (start, end) in enumerate([(0, 10), (5, 15), (20, 30), (20, 25), (40, 40)]):
        spans.add(name, start, end)
    nesting = Nesting(spans)
    assert {moment: list(nesting.around(moment)) for moment in (-1, 0, 7, 14, 15, 22, 27, 40, 99)} == {
        -1: [],
        0: [0],
        7: [1, 0],
        14: [1, 0],
        15: [],
        22: [3, 2],
        27: [2],
        40: [],
        99: [],
    }
