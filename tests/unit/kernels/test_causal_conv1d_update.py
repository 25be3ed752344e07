"""The decode step of the short convolution against float64, in step with prefill, and what it leaves alone."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import pytest
import torch
from syncwatch_kernels.gdn import causal_conv1d, causal_conv1d_update
from syncwatch_kernels.gdn.reference import reference_causal_conv1d
from syncwatch_kernels.gdn.reference_decode import reference_causal_conv1d_update

from tests.helpers.kernel_fixtures import assert_close

BFLOAT16, INT32 = torch.bfloat16, torch.int32
CHANNELS = 272  # one block of channels and a part of another
WEIGHT, BIAS = torch.linspace(-1, 1, CHANNELS * 4).view(-1, 4).to(BFLOAT16), torch.linspace(2, -2, CHANNELS).bfloat16()


def make_pool(depths: dict[int, int], slots: int, depth: int) -> torch.Tensor:
    """Return a pool of NaN in which each slot of `depths` has that many inputs."""
    pool = torch.full((slots, depth, CHANNELS), float("nan"), dtype=BFLOAT16)
    for slot, inputs in depths.items():
        pool[slot, :inputs] = torch.randn(inputs, CHANNELS).to(BFLOAT16)
    return pool


def check(
    lengths: list[int], slots: list[int], pool: torch.Tensor, accepted: list[int] | None = None, padding: int = 0
) -> torch.Tensor:
    """Run a step and compare with the truth; the pool must agree bit by bit, for inputs are only moved."""
    x = torch.randn(sum(lengths) + padding, CHANNELS).to(BFLOAT16)
    x[sum(lengths) :] = float("nan")
    sums = [0, *accumulate(lengths)]
    true_y, true_pool = reference_causal_conv1d_update(
        x.double(), WEIGHT.double(), BIAS.double(), pool.double(), slots, sums, accepted
    )

    y = causal_conv1d_update(
        x, WEIGHT, BIAS, pool, torch.tensor(slots, dtype=INT32), torch.tensor(sums, dtype=INT32),
        None if accepted is None else torch.tensor(accepted, dtype=INT32),
    )  # fmt: skip

    assert_close(y, true_y)
    torch.testing.assert_close(pool.double(), true_pool, rtol=0, atol=0, equal_nan=True)
    return y


@pytest.mark.parametrize("activation", ["silu", None])
@pytest.mark.parametrize("bias", [BIAS, None], ids=["bias", "no bias"])
def test_one_token_a_row(bias: torch.Tensor | None, activation: Any) -> None:
    pool = make_pool({1: 3, 3: 3}, slots=4, depth=3)
    x = torch.randn(2, CHANNELS).to(BFLOAT16)
    true_y, true_pool = reference_causal_conv1d_update(
        x.double(), WEIGHT.double(), None if bias is None else bias.double(), pool.double(), [3, 1], [0, 1, 2],
        silu=activation is not None,
    )  # fmt: skip

    y = causal_conv1d_update(x, WEIGHT, bias, pool, torch.tensor([3, 1], dtype=INT32), activation=activation)

    assert_close(y, true_y)
    torch.testing.assert_close(pool.double(), true_pool, rtol=0, atol=0, equal_nan=True)


def test_several_tokens_a_row() -> None:
    check([3, 0, 1, 5], [4, 1, 2, 3], make_pool({2: 3, 3: 3, 4: 3}, slots=6, depth=3))


def test_rows_without_a_slot_are_skipped_and_their_outputs_are_zero() -> None:
    y = check([1, 1, 2, 1, 1], [0, 2, -1, 6, 3], make_pool({2: 3, 3: 3}, slots=6, depth=3), padding=6)

    skipped = [0, 2, 3, 4, *range(6, 12)]
    assert torch.equal(y[skipped], torch.zeros_like(y[skipped]))


@pytest.mark.parametrize("accepted", [1, 2, 3])
def test_the_inputs_are_picked_by_the_accepted_tokens(accepted: int) -> None:
    check([3, 2, 1], [1, 3, 2], make_pool({1: 5, 2: 5, 3: 5}, slots=4, depth=5), [accepted, 4 - accepted, accepted])


@pytest.mark.parametrize(("wild", "edge"), [(0, 1), (-7, 1), (4, 3), (2**31 - 1, 3), (-(2**31), 1)])
def test_a_count_outside_the_window_means_its_edge(wild: int, edge: int) -> None:
    pool = make_pool({1: 5}, slots=2, depth=5)
    x, slots = torch.randn(3, CHANNELS).to(BFLOAT16), torch.tensor([1], dtype=INT32)
    sums = torch.tensor([0, 3], dtype=INT32)

    results = []
    for count in (wild, edge):
        states = pool.clone()
        counts = torch.tensor([count], dtype=INT32)
        results.append((causal_conv1d_update(x, WEIGHT, BIAS, states, slots, sums, counts), states[1]))

    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


def test_tokens_past_the_window_are_not_computed() -> None:
    y = check([4, 1], [1, 2], make_pool({1: 4, 2: 4}, slots=3, depth=4), [1, 2])

    assert torch.equal(y[2:4], torch.zeros_like(y[2:4]))


def test_a_row_without_drafts_before_speculative_rows() -> None:
    check([1, 3, 0, 3], [3, 1, 0, 2], make_pool({1: 5, 2: 5, 3: 5}, slots=4, depth=5), [2, 3, 1, 1], padding=3)


def test_prefill_then_speculative_then_plain_then_speculative() -> None:
    """The tokens that stand: 6 of the prefill, 2 of the first step's 3, the plain one, 3 of the last step's 3."""
    x = torch.randn(6 + 3 + 1 + 3, CHANNELS).to(BFLOAT16)
    one, sums = torch.tensor([1], dtype=INT32), torch.tensor([0, 6], dtype=INT32)
    pool = make_pool({}, slots=2, depth=5)
    prefill, final = causal_conv1d(x[:6], WEIGHT, sums, output_final_state=True)
    assert final is not None
    pool[1, :3] = final[0]

    def step(start: int, end: int, accepted: int) -> torch.Tensor:
        sums = torch.tensor([0, end - start], dtype=INT32)
        counts = torch.tensor([accepted], dtype=INT32)
        return causal_conv1d_update(x[start:end], WEIGHT, None, pool, one, sums, counts)

    outputs = [prefill, step(6, 9, 1)[:2], step(9, 10, 2), step(10, 13, 1)]

    stands = torch.cat((x[:8], x[9:]))
    true_y, true_final = reference_causal_conv1d(stands.double(), WEIGHT.double(), [0, 12])
    assert_close(torch.cat(outputs), true_y)
    assert torch.equal(pool[1, 2:5].double(), true_final[0])


def test_slices_of_wider_tensors() -> None:
    pages = torch.full((3, 2, 3, CHANNELS), float("nan"), dtype=BFLOAT16)
    pages[1:, 1] = torch.randn(2, 3, CHANNELS).to(BFLOAT16)
    states = pages[:, 1].clone()
    wide = torch.randn(2, CHANNELS + 16).to(BFLOAT16)
    table = torch.tensor([[2, 9], [1, 9]], dtype=INT32)

    y = causal_conv1d_update(wide[:, 16:], WEIGHT, BIAS, pages[:, 1], table[:, 0])

    same = causal_conv1d_update(wide[:, 16:].contiguous(), WEIGHT, BIAS, states, table[:, 0].contiguous())
    assert torch.equal(y, same)
    assert torch.equal(pages[1:, 1], states[1:])
    assert torch.isnan(pages[:, 0]).all()


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"weight": WEIGHT[:, :3]}, r"weight must have shape \(272, 4\)"),
        ({"bias": BIAS.float()}, "bias must be torch.bfloat16"),
        ({"conv_states": torch.zeros(3, 2, CHANNELS, dtype=BFLOAT16)}, r"conv_states must have shape \(3, 3, 272\)"),
        ({"conv_states": torch.zeros(3, 3, CHANNELS)}, "conv_states must be torch.bfloat16"),
        ({"slots": torch.ones(2, 3, dtype=INT32)}, "slots must have 1 dimensions"),
        ({"slots": torch.ones(2)}, "slots must be torch.int32"),
        ({"num_accepted_tokens": torch.ones(3, dtype=INT32)}, "num_accepted_tokens must have shape"),
        ({"activation": "swish"}, "activation must be 'silu' or None, but is 'swish'"),
    ],
)
def test_wrong_arguments_are_refused(changed: dict[str, Any], sentence: str) -> None:
    arguments: dict[str, Any] = {
        "x": torch.zeros(2, CHANNELS, dtype=BFLOAT16),
        "weight": WEIGHT,
        "bias": BIAS,
        "conv_states": torch.zeros(3, 3, CHANNELS, dtype=BFLOAT16),
        "slots": torch.ones(2, dtype=INT32),
    }
    with pytest.raises(ValueError, match=sentence):
        causal_conv1d_update(**(arguments | changed))
