"""The recurrent decode kernel against the definition, in float64, and what it leaves alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from syncwatch_kernels.gdn import chunk_gated_delta_rule, recurrent_gated_delta_rule_decode
from syncwatch_kernels.gdn.reference import reference_l2norm, reference_recurrent

from tests.helpers.decode_fixtures import FLOAT32, between, check, make_batch, make_pool, make_tokens
from tests.helpers.kernel_fixtures import assert_close, make_problem

INT32 = torch.int32


@pytest.mark.parametrize(
    ("heads", "size", "value_size"), [((1, 2), 16, 32), ((2, 2), 32, 16), ((1, 4), 64, 64), ((1, 1), 128, 128)], ids=str
)
def test_one_token_a_row(heads: tuple[int, int], size: int, value_size: int) -> None:
    batch = make_batch([1, 1, 1], [[4], [1], [2]], heads=heads, size=size, value_size=value_size)
    states = make_pool(6, batch, used=[1, 2, 4])
    again = states.clone()

    o = check(batch, states, written=[1, 2, 4])

    slots = torch.tensor([4, 1, 2], dtype=INT32)
    assert torch.equal(recurrent_gated_delta_rule_decode(*batch.tensors, again, slots), o)
    assert torch.equal(again.view(INT32), states.view(INT32))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
def test_several_tokens_a_row(dtype: torch.dtype) -> None:
    batch = make_batch([3, 0, 1, 5], [[4], [1], [2], [3]], dtype=dtype)

    check(batch, make_pool(6, batch, used=[1, 2, 3, 4]), [2, 3, 4], 0.001 if dtype == torch.float16 else FLOAT32)


def test_rows_without_a_slot_are_skipped_and_their_outputs_are_zero() -> None:
    batch = make_batch([1, 1, 2, 1, 1], [[0], [2], [-1], [6], [3]], padding=7)

    o = check(batch, make_pool(6, batch, used=[2, 3]), written=[2, 3])

    skipped = [0, 2, 3, 4, *range(6, 13)]
    assert torch.equal(o[0, skipped], torch.zeros_like(o[0, skipped]))


def test_a_full_stop_of_padding() -> None:
    batch = make_batch([0, 0], [[1], [0]], padding=3)

    assert torch.equal(batch.run(make_pool(2, batch, used=[])), torch.zeros(1, 3, 2, 16, dtype=torch.bfloat16))
    slots = torch.zeros(0, dtype=INT32)
    empty = make_batch([], [])
    assert recurrent_gated_delta_rule_decode(*empty.tensors, make_pool(2, empty, []), slots).shape == (1, 0, 2, 16)


@pytest.mark.parametrize("accepted", [1, 2, 3])
def test_the_state_is_picked_by_the_accepted_tokens(accepted: int) -> None:
    batch = make_batch([3, 2], [[1, 2, 3], [6, 5, 4]], [accepted, 4 - accepted])
    begin = [accepted, 7 - (4 - accepted)]

    # All others are NaN: to read them would show.
    check(batch, make_pool(8, batch, used=begin), written=[1, 2, 3, 5, 6])


@pytest.mark.parametrize(("wild", "column"), [(0, 0), (-5, 0), (4, 2), (2**31 - 1, 2), (-(2**31), 0)])
def test_a_count_outside_the_window_means_its_edge(wild: int, column: int) -> None:
    batch = make_batch([3], [[1, 2, 3]], [wild])
    states = make_pool(5, batch, used=[1 + column])
    same = states.clone()

    o = check(batch, states, written=[1, 2, 3])

    assert torch.equal(o, replace(batch, accepted=[column + 1]).run(same))
    assert torch.equal(states.view(INT32), same.view(INT32))


def test_tokens_past_the_window_are_not_computed() -> None:
    batch = make_batch([4, 1], [[1, 2], [3, 4]], [1, 2])

    o = check(batch, make_pool(6, batch, used=[1, 4]), written=[1, 2, 3])

    assert torch.equal(o[0, 2:4], torch.zeros_like(o[0, 2:4]))


def test_a_column_without_a_slot_drops_its_state_and_nothing_else() -> None:
    batch = make_batch([3, 3], [[1, 0, 2], [0, 3, 4]], [1, 1])

    o = check(batch, make_pool(6, batch, used=[1]), written=[1, 2])

    assert torch.isfinite(o[0, :3]).all()
    assert torch.equal(o[0, 3:], torch.zeros_like(o[0, 3:]))


def test_a_row_without_drafts_before_speculative_rows() -> None:
    # Gates that were gathered for other tokens than the values: https://github.com/vllm-project/vllm/pull/51812.
    batch = make_batch([1, 3, 0, 3], [[1, 2, 3], [4, 5, 6], [0, 0, 0], [7, 8, 9]], [1, 2, 1, 3], padding=3)
    states = make_pool(10, batch, used=[1, 5, 9])
    alone, outputs = states.double(), []
    for index in range(4):
        o, alone = batch.row(index).truth(alone)
        outputs.append(o)

    together = check(batch, states, written=[1, 4, 5, 6, 7, 8, 9])

    assert_close(together[:, :7], torch.cat(outputs, dim=1))
    assert_close(states[[1, 4, 5, 6, 7, 8, 9]], alone[[1, 4, 5, 6, 7, 8, 9]], FLOAT32)


@pytest.mark.parametrize("plain_form", [False, True], ids=["one token in the window", "plain form"])
def test_speculative_then_plain_then_speculative(plain_form: bool) -> None:
    """The tokens that stand: 2 of the first step's 3, the plain one, 3 of the last step's 3."""
    window, steps = [[1, 2, 3]], [make_batch([length], [[1, 2, 3]]) for length in (3, 1, 3)]
    states = make_pool(4, steps[0], used=[1])
    initial = states[1:2].double()

    outputs = [replace(steps[0], slots=window, accepted=[1]).run(states)[:, :2]]
    if plain_form:
        # The state stays where the accepted draft put it, so the next count is the same again.
        outputs.append(replace(steps[1], slots=[[2]], accepted=None).run(states))
        outputs.append(replace(steps[2], slots=window, accepted=[2]).run(states))
    else:
        outputs.append(replace(steps[1], slots=window, accepted=[2]).run(states))
        outputs.append(replace(steps[2], slots=window, accepted=[1]).run(states))

    stand = zip(*(step.tensors for step in steps), strict=True)
    q, k, v, g, beta = (torch.cat((first[:, :2], plain, last), dim=1).double() for first, plain, last in stand)
    true_o, true_state = reference_recurrent(reference_l2norm(q), reference_l2norm(k), v, g, beta, [0, 6], initial)
    assert_close(torch.cat(outputs, dim=1), true_o)
    assert_close(states[3:4], true_state, FLOAT32)


def test_decode_goes_on_where_prefill_ended() -> None:
    problem = make_problem([70], (1, 2), 16, with_state=True)
    _, final = chunk_gated_delta_rule(
        *between(problem.tensors, 0, 66),
        torch.tensor([0, 66], dtype=INT32),
        problem.initial_state,
        output_final_state=True,
    )
    assert final is not None
    states = torch.cat((torch.full_like(final, float("nan")), final))
    slots = torch.tensor([1], dtype=INT32)

    o = [
        recurrent_gated_delta_rule_decode(*between(problem.tensors, t, t + 1), states, slots, l2norm=False)
        for t in range(66, 70)
    ]

    true_o, true_final = problem.truth()
    assert_close(torch.cat(o, dim=1), true_o[:, 66:])
    assert_close(states[1:], true_final)


def test_the_state_stays_that_of_a_float32_recurrence() -> None:
    steps = 200
    tensors = make_tokens(steps, (1, 2), 16, 16, torch.bfloat16, "cpu")
    states = torch.zeros(2, 2, 16, 16)
    slots = torch.ones(1, dtype=INT32)
    for t in range(steps):
        recurrent_gated_delta_rule_decode(*between(tensors, t, t + 1), states, slots)

    q, k, v, g, beta = (each.float() for each in tensors)
    _, expected = reference_recurrent(reference_l2norm(q), reference_l2norm(k), v, g, beta, [0, steps])
    assert_close(states[1:], expected, 1e-6)


def test_slices_of_wider_tensors() -> None:
    batch = make_batch([2, 1], [[1], [2]], heads=(2, 2))
    states = make_pool(3, batch, used=[1, 2])
    true_o, true_states = batch.truth(states)
    mixed = torch.cat([each.flatten(2) for each in (batch.q, batch.k, batch.v)], dim=2)
    q, k, v = (each.unflatten(2, (2, 16)) for each in mixed.split(32, dim=2))
    pages = torch.full((3, 7, 2, 16, 16), float("nan"))
    pages[:, 3] = states
    table = torch.tensor([[1, 9], [2, 9]], dtype=INT32)

    o = recurrent_gated_delta_rule_decode(
        q, k, v, batch.g, batch.beta, pages[:, 3], table[:, 0], torch.tensor([0, 2, 3], dtype=INT32)
    )

    assert_close(o, true_o)
    assert_close(pages[1:, 3], true_states[1:], FLOAT32)
    assert torch.isnan(pages[:, [0, 1, 2, 4, 5, 6]]).all()


def test_the_scale_is_the_callers() -> None:
    batch = make_batch([1], [[1]], dtype=torch.float32)
    states = make_pool(2, batch, used=[1])
    slots = torch.tensor([1], dtype=INT32)

    scaled = recurrent_gated_delta_rule_decode(*batch.tensors, states.clone(), slots, scale=0.5)

    assert_close(scaled, batch.run(states).double() * 0.5 * 4, FLOAT32)


SLOTS = torch.tensor([1, 2], dtype=INT32)
COUNTS = torch.ones(2, dtype=INT32)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"g": torch.zeros(1, 2, 2, dtype=torch.bfloat16)}, "g must be torch.float32, but is torch.bfloat16"),
        ({"beta": torch.zeros(1, 2, 2, dtype=torch.bfloat16)}, "beta must be torch.float32"),
        ({"beta": torch.zeros(1, 2, 3)}, r"beta must have shape \(1, 2, 2\)"),
        ({"q": torch.zeros(1, 2, 2, 16, dtype=torch.bfloat16)}, "q must have shape"),
        ({"states": torch.zeros(3, 2, 16, 16, dtype=torch.bfloat16)}, "states must be torch.float32"),
        ({"states": torch.zeros(3, 1, 16, 16)}, r"states must have shape \(3, 2, 16, 16\)"),
        ({"states": torch.zeros(3, 2, 16, 16).mT}, "states must hold"),
        ({"slots": SLOTS.long()}, "slots must be torch.int32"),
        ({"slots": SLOTS[:1]}, "there are 1 rows and 2 tokens"),
        ({"slots": SLOTS.to("meta")}, "slots is on meta, but v is on cpu"),
        ({"slots": SLOTS[:, None]}, "slots must have shape"),
        ({"num_accepted_tokens": COUNTS}, "slots must have shape"),
        ({"slots": SLOTS[:, None], "num_accepted_tokens": COUNTS.long()}, "num_accepted_tokens must be torch.int32"),
        ({"slots": SLOTS[:, None], "num_accepted_tokens": COUNTS[:1]}, "num_accepted_tokens must have shape"),
        ({"cu_seqlens": torch.zeros(2, dtype=INT32)}, r"cu_seqlens must have shape \(3,\)"),
        ({"cu_seqlens": torch.zeros(3, 2, dtype=INT32)[:, 0]}, "cu_seqlens must be contiguous"),
    ],
)
def test_wrong_arguments_are_refused(changed: dict[str, torch.Tensor], sentence: str) -> None:
    batch = make_batch([1, 1], [[1], [2]])
    names = ("q", "k", "v", "g", "beta")
    arguments: dict[str, Any] = dict(zip(names, batch.tensors, strict=True))
    arguments |= {"states": make_pool(3, batch, [1, 2]), "slots": SLOTS}

    with pytest.raises(ValueError, match=sentence):
        recurrent_gated_delta_rule_decode(**(arguments | changed))
