"""Rejection sampling: the outputs are distributed as the target model says, whatever the drafts are."""

from __future__ import annotations

from itertools import accumulate

import pytest
import torch
from syncwatch_scenarios.spec_decode import sampling as spec_decode_sampling
from syncwatch_scenarios.spec_decode.sampling import (
    ACCEPTANCE,
    Noise,
    Outcome,
    SampleLayout,
    sample,
    token_probabilities,
)

VOCABULARY = 8
MANY = 100_003
"""A prime: each draw then meets a number of its own."""


@pytest.fixture
def many_draws(monkeypatch: pytest.MonkeyPatch) -> Noise:
    monkeypatch.setattr(spec_decode_sampling, "_UNIFORMS", MANY)
    monkeypatch.setattr(spec_decode_sampling, "_RACES", MANY)
    generator = torch.Generator().manual_seed(0)
    races = torch.empty(MANY, VOCABULARY).exponential_(generator=generator)
    return Noise(torch.rand(MANY, generator=generator), races)


def layout(drafts: list[int], width: int = 3, requests: list[int] | None = None) -> SampleLayout:
    """Return the layout of rows with these drafts, their tokens one after the other."""
    firsts = accumulate((each + 1 for each in drafts[:-1]), initial=0)
    targets = [[first + min(column, own) for column in range(width)] for first, own in zip(firsts, drafts, strict=True)]
    numbers = list(range(len(drafts))) if requests is None else requests
    return SampleLayout(
        torch.arange(sum(drafts) + len(drafts)), torch.tensor(targets), torch.tensor(drafts), torch.tensor(numbers)
    )


def fixed_noise(uniform: float) -> Noise:
    return Noise(torch.full((4093,), uniform), torch.ones(61, VOCABULARY))


def outcome_of(drafts: list[int], drafted: list[list[int]], probabilities: torch.Tensor, noise: Noise) -> Outcome:
    return sample(probabilities, torch.tensor(drafted), torch.zeros(len(drafts)).long(), layout(drafts), noise)


@pytest.mark.parametrize("draft", [0, 3, 7])
def test_outputs_have_the_targets_distribution_whatever_was_drafted(draft: int, many_draws: Noise) -> None:
    target = torch.tensor([0.4, 0.02, 0.08, 0.25, 0.05, 0.1, 0.1, 0.0])
    rows = layout([1] * MANY, width=2)
    probabilities = target.expand(2 * MANY, VOCABULARY)

    outcome = sample(probabilities, torch.full((MANY, 1), draft), torch.zeros(MANY).long(), rows, many_draws)

    kept = outcome.num_accepted == 2
    first = torch.where(kept, draft, outcome.next_tokens)
    for tokens in (first, outcome.next_tokens[kept]):
        if len(tokens):
            found = torch.bincount(tokens, minlength=VOCABULARY) / len(tokens)
            # Five standard deviations of the most uncertain frequency.
            assert (found - target).abs().max() < 5 * (0.25 / len(tokens)) ** 0.5
    assert kept.float().mean().item() == pytest.approx(target[draft].item(), abs=0.01)


def test_all_accepted_all_rejected_and_no_drafts() -> None:
    probabilities = torch.arange(1.0, 1 + 5 * VOCABULARY).view(5, VOCABULARY).softmax(1)
    drafted = [[6, 5], [4, 4], [0, 0]]

    everything = outcome_of([1, 0, 1], drafted, probabilities, fixed_noise(0.0))
    assert everything.num_accepted.tolist() == [2, 1, 2]
    assert everything.last.tolist() == [1, 2, 4]
    assert everything.next_tokens.tolist() == [7, 7, 7]

    nothing = outcome_of([1, 0, 1], drafted, probabilities, fixed_noise(1.0))
    assert nothing.num_accepted.tolist() == [1, 1, 1]
    assert nothing.last.tolist() == [0, 2, 3]


def test_a_rejected_token_is_not_drawn_again_and_an_accepted_one_may_be() -> None:
    probabilities = torch.full((4, VOCABULARY), 0.01)
    probabilities[:, 5] = 0.9
    probabilities[:, 2] = 0.03

    rejected = outcome_of([1, 1], [[5, 0], [1, 0]], probabilities, fixed_noise(1.0))
    accepted = outcome_of([1, 1], [[5, 0], [1, 0]], probabilities, fixed_noise(0.0))

    assert rejected.next_tokens.tolist() == [2, 5]
    assert accepted.next_tokens.tolist() == [5, 5]


def test_what_stands_after_a_rejection_is_rejected_too() -> None:
    probabilities = torch.full((3, VOCABULARY), 1e-3)
    probabilities[1, 4] = 1.0

    outcome = outcome_of([2], [[3, 4]], probabilities, fixed_noise(0.5))

    assert outcome.num_accepted.tolist() == [1]
    assert outcome.last.tolist() == [0]


def test_draws_depend_on_the_request_and_its_position_alone(many_draws: Noise) -> None:
    target = torch.full((3, VOCABULARY), 1 / VOCABULARY)
    positions, drafted = torch.tensor([4, 9, 2]), torch.tensor([[1], [2], [3]])

    together = sample(target, drafted, positions, layout([0, 0, 0], 2, requests=[11, 12, 13]), many_draws)
    alone = sample(target[:1], drafted[1:2], positions[1:2], layout([0], 2, requests=[12]), many_draws)

    assert together.next_tokens[1] == alone.next_tokens[0]


def test_probabilities_sum_to_one_and_favour_the_successor() -> None:
    logits = torch.randn(4, VOCABULARY, generator=torch.Generator().manual_seed(0)).bfloat16()

    probabilities = token_probabilities(logits, torch.tensor([0, 1, 2, 3]))

    assert torch.allclose(probabilities.sum(1), torch.ones(4))
    assert probabilities.argmax(1).tolist() == [7, 4, 1, 6]
    assert probabilities.max(1).values.min() >= ACCEPTANCE
