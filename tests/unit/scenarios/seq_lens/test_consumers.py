"""What each consumer makes of the lengths: right by a plain calculation, and the same with a bound as with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch
from syncwatch_scenarios.hybrid_model.layers import FeedForward
from syncwatch_scenarios.hybrid_model.sizes import PRESETS
from syncwatch_scenarios.seq_lens.async_scheduler import draw_table
from syncwatch_scenarios.seq_lens.batch import SeqBatch, SlotStates, padded_rows
from syncwatch_scenarios.seq_lens.planning import (
    common_metadata,
    cross_attention,
    draft_loop,
    flex_attention,
    input_batch,
    micro_batches,
    mla_context,
    plan_context,
)
from syncwatch_scenarios.seq_lens.serving_steps import HostLengths, Serving
from syncwatch_scenarios.seq_lens.traffic import BLOCK_TOKENS

from tests.helpers.seq_lens_truth import SMALL, scheduler_of, steps

CPU = torch.device("cpu")
TRAFFIC = replace(SMALL, prompt=(3, 300), tokens=60)
WORKSPACE = 64


@pytest.fixture(scope="module")
def states() -> SlotStates:
    torch.manual_seed(0)
    draws = torch.from_numpy(draw_table(TRAFFIC, 0))
    return SlotStates.create(TRAFFIC.requests, TRAFFIC.longest, draws, CPU)


def batches(states: SlotStates, lengths: HostLengths, count: int = 30) -> Iterator[tuple[SeqBatch, torch.Tensor]]:
    """Yield each step's batch and what it rejects."""
    serving = Serving(TRAFFIC, 0, states, lengths)
    for _ in range(count):
        batch = serving.next_batch()
        yield batch, serving.verify(batch)


NAIVE = HostLengths(bounded=False, refreshed=True)
BOUNDED = HostLengths(bounded=True, refreshed=True)
DRIFTING = HostLengths(bounded=True, refreshed=False)


def cache_place(states: SlotStates, slot: int, position: int) -> int:
    return int(states.block_table[slot, position // BLOCK_TOKENS]) * BLOCK_TOKENS + position % BLOCK_TOKENS


def test_the_lengths_on_the_device_are_the_true_ones_and_zero_on_padding(states: SlotStates) -> None:
    true = steps(scheduler_of(TRAFFIC, 0), 1000)
    for (batch, _), (rows, lengths, _) in zip(batches(states, BOUNDED, 1000), true, strict=True):
        padding = [0] * (padded_rows(len(rows)) - len(rows))
        assert batch.seq_lens.tolist() == lengths.tolist() + padding
        assert batch.bound is not None and (batch.bound >= batch.seq_lens).all()
        assert batch.query_lens_cpu.tolist() == [row.query_len for row in rows] + padding


@pytest.mark.parametrize("lengths", [BOUNDED, DRIFTING], ids=["refreshed", "drifting"])
def test_with_a_bound_every_consumer_gives_what_it_gives_with_the_truth(
    states: SlotStates, lengths: HostLengths
) -> None:
    queries = torch.randn(TRAFFIC.requests, states.cache.shape[1])
    layer = FeedForward(PRESETS["tiny"], CPU)
    above = 0
    for (exact, rejected), (bounded, _) in zip(batches(states, NAIVE), batches(states, lengths), strict=True):
        consumers: tuple[Callable[[SeqBatch], torch.Tensor], ...] = (
            input_batch,
            common_metadata,
            cross_attention,
            flex_attention,
            micro_batches,
            lambda batch: mla_context(batch, queries, WORKSPACE),
            lambda batch, rejected=rejected: draft_loop(  # type: ignore[misc]
                batch, rejected, torch.ones(len(rejected), PRESETS["tiny"].hidden, dtype=torch.bfloat16), layer, 2
            )[0],
        )
        for consumer in consumers:
            assert torch.equal(consumer(exact), consumer(bounded))
        assert bounded.bound is not None
        above += int((bounded.bound - exact.seq_lens).sum())
    assert above > 0, "the bound was the truth all along"


def test_tokens_are_written_where_their_place_in_the_sequence_is(states: SlotStates) -> None:
    for batch, _ in batches(states, BOUNDED):
        lengths = batch.seq_lens.tolist()
        expected = [
            cache_place(states, row.slot, lengths[number] - row.query_len + token)
            for number, row in enumerate(batch.rows)
            for token in range(row.query_len)
        ]
        assert input_batch(batch).tolist() == expected


def test_block_masks_and_tiles_hold_the_true_lengths(states: SlotStates) -> None:
    for batch, _ in batches(states, BOUNDED, 8):
        lengths = batch.seq_lens.tolist()
        blocks = [-(-length // BLOCK_TOKENS) for length in lengths]
        slots = batch.slots.tolist()
        numbers = [int(states.block_table[slot, :count].sum()) for slot, count in zip(slots, blocks, strict=True)]
        assert flex_attention(batch).tolist() == [list(each) for each in zip(blocks, numbers, strict=True)]
        assert common_metadata(batch).tolist() == [[length, -(-length // 256)] for length in lengths]


def test_encoder_keys_are_written_in_the_first_step_of_a_request_only(states: SlotStates) -> None:
    written = 0
    for batch, _ in batches(states, BOUNDED):
        first = [row.begins and row.computed == 0 for row in batch.rows]
        rows = (cross_attention(batch) >= 0).all(1).tolist()
        assert rows == first + [False] * (len(rows) - len(first))
        written += sum(first)
    assert written > 3


def test_attention_over_chunks_is_attention_over_the_whole_context(states: SlotStates) -> None:
    queries = torch.randn(TRAFFIC.requests, states.cache.shape[1])
    chunked = 0
    for batch, _ in batches(states, BOUNDED):
        found = mla_context(batch, queries, WORKSPACE)
        prefills = batch.rows[batch.prefills]
        assert found.shape == (len(prefills), states.cache.shape[1])
        for number, row in enumerate(prefills):
            places = [cache_place(states, row.slot, position) for position in range(row.computed)]
            keys = states.cache[places].double()
            weights = torch.softmax(keys @ queries[number].double() * keys.shape[1] ** -0.5, 0)
            torch.testing.assert_close(found[number].double(), weights @ keys, rtol=1e-5, atol=1e-6)
        chunked += len(plan_context(torch.tensor([row.computed for row in prefills]), WORKSPACE).starts) > 1
    assert chunked > 3


def test_the_workspace_is_shared_by_the_rows_that_have_context_in_whole_blocks() -> None:
    assert plan_context(torch.tensor([0, 100, 30]), 70).chunk == 32
    assert plan_context(torch.tensor([0, 100, 30]), 70).starts == (0, 32, 64, 96)
    assert plan_context(torch.tensor([5, 7, 9]), 16).chunk == BLOCK_TOKENS
    assert plan_context(torch.tensor([0, 0]), 64).starts == ()
    assert plan_context(torch.tensor([], dtype=torch.int32), 64).starts == ()


def test_the_draft_loop_goes_on_where_the_accepted_drafts_end(states: SlotStates) -> None:
    shape = PRESETS["tiny"]
    layer = FeedForward(shape, CPU)
    corrected = 0
    for batch, rejected in batches(states, BOUNDED):
        hidden = torch.ones(len(rejected), shape.hidden, dtype=torch.bfloat16)
        plans, _ = draft_loop(batch, rejected, hidden, layer, 2)
        for number, row in enumerate(batch.rows):
            length = int(batch.seq_lens[number] - rejected[number])
            expected = [
                figure
                for passes in range(2)
                for figure in (
                    cache_place(states, row.slot, length + passes),
                    length + passes + 1,
                    -(-(length + passes + 1) // 256),
                )
            ]
            assert plans[number].tolist() == expected
        assert (plans[len(batch.rows) :] == torch.tensor([-1, 0, 0] * 2)).all()
        corrected += int(rejected.sum())
    assert corrected > 0
