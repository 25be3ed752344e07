"""A batch that is cut in the middle of a request: both halves' lengths, and where the padding goes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from syncwatch_scenarios.seq_lens.planning import Cut, cut_at, halves


@st.composite
def batches(draw: st.DrawFn) -> tuple[list[int], list[int], int]:
    """Draw the tokens and the context of each row, padding at the back, and where to cut."""
    tokens = draw(st.lists(st.integers(1, 9), min_size=1, max_size=6))
    context = draw(st.lists(st.integers(0, 20), min_size=len(tokens), max_size=len(tokens)))
    padding = [0] * draw(st.integers(0, 3))
    return tokens + padding, context + padding, draw(st.integers(0, sum(tokens)))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(batches())
def test_every_token_attends_to_the_same_keys_as_in_the_whole_batch(batch: tuple[list[int], list[int], int]) -> None:
    tokens, context, token = batch
    lens = torch.tensor([own + before for own, before in zip(tokens, context, strict=True)])

    cut = cut_at(tokens, token)
    first, second = halves(lens, cut)

    own_first = tokens[cut.first]
    if cut.skipped:
        own_first[-1] -= cut.skipped
    own_second = tokens[cut.second]
    if cut.skipped:
        own_second[0] = cut.skipped
    assert sum(own_first) == token and sum(own_second) == sum(tokens) - token
    # A token attends to all keys up to itself: its place in the sequence.
    assert places(first.tolist(), own_first) + places(second.tolist(), own_second) == places(lens.tolist(), tokens)


def places(lens: list[int], tokens: list[int]) -> list[int]:
    return [length - own + 1 + number for length, own in zip(lens, tokens, strict=True) for number in range(own)]


def test_the_second_half_keeps_the_full_length_and_padding_stays_zero() -> None:
    lens = torch.tensor([13, 30, 24, 0, 0], dtype=torch.int32)

    cut = cut_at([3, 10, 4, 0, 0], 8)
    first, second = halves(lens, cut)

    assert cut == Cut(slice(0, 2), slice(1, 5), skipped=5)
    assert (first.tolist(), second.tolist()) == ([13, 25], [30, 24, 0, 0])
    assert lens.tolist() == [13, 30, 24, 0, 0], "the whole batch goes on to be used"


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        (0, Cut(slice(0, 0), slice(0, 3), 0)),
        (3, Cut(slice(0, 1), slice(1, 3), 0)),
        (5, Cut(slice(0, 2), slice(2, 3), 0)),
    ],
    ids=["before the first", "between two rows", "after the last, before padding"],
)
def test_a_cut_between_two_rows_leaves_both_whole(token: int, expected: Cut) -> None:
    assert cut_at([3, 2, 0], token) == expected
