"""Decides which drafts stand and which token follows: rejection sampling, all of it on the device."""

from __future__ import annotations

from dataclasses import dataclass

import torch

ACCEPTANCE = 0.75
"""Probability that both models give the successor of a token; #38047 does not tell its rate, so this is a choice."""
_UNIFORMS = 4093
_RACES = 61
# Primes, so that neighbours in a sequence and neighbouring requests draw different numbers.
_PER_REQUEST, _PER_POSITION = 7919, 104729


@dataclass(frozen=True, slots=True)
class Noise:
    """Random numbers drawn ahead: the same for a request and a position, whatever else is in the batch."""

    uniforms: torch.Tensor
    """float32 [4093], 0 to 1"""
    races: torch.Tensor
    """float32 [61, vocabulary], exponential"""

    @classmethod
    def draw(cls, vocabulary: int, device: torch.device) -> Noise:
        """Draw both tables."""
        races = torch.empty(_RACES, vocabulary, device=device).exponential_()
        return cls(torch.rand(_UNIFORMS, device=device), races)


@dataclass(frozen=True, slots=True)
class SampleLayout:
    """Which tokens of a step are sampled from; N rows without padding, on the device."""

    tokens: torch.Tensor
    """int64 [R]: the sampled tokens of the step, those of a row side by side."""
    targets: torch.Tensor
    """int64 [N, drafts + 1]: which of the R verifies draft j; after the row's own drafts, the last again."""
    drafts: torch.Tensor
    """int64 [N]: draft tokens of each row."""
    requests: torch.Tensor
    """int64 [N]: number of the request."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What rejection sampling decided for N rows."""

    num_accepted: torch.Tensor
    """int64 [N]: tokens of the row that stand, the first included."""
    next_tokens: torch.Tensor
    """int64 [N]: the token after them."""
    last: torch.Tensor
    """int64 [N]: which of the R sampled tokens is the last that stands."""


def token_probabilities(logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Return what follows each token: its successor with `ACCEPTANCE`, else what the logits say.

    Random weights would agree on nothing, and every draft would be rejected. So target and draft model share a part
    that does not come from their weights.

    Args:
        logits: [R, vocabulary]
        tokens: int64 [R], the tokens that the logits come after.

    Returns:
        float32 [R, vocabulary], each row of sum 1.
    """
    successors = (tokens * 5 + 7) % logits.shape[1]
    probabilities = logits.softmax(1, dtype=torch.float32).mul_(1 - ACCEPTANCE)
    return probabilities.scatter_add_(1, successors[:, None], torch.full_like(probabilities[:, :1], ACCEPTANCE))


def sample(
    probabilities: torch.Tensor,
    drafts: torch.Tensor,
    positions: torch.Tensor,
    layout: SampleLayout,
    noise: Noise,
) -> Outcome:
    """Verify the drafts of each row and sample the token after the last that stands.

    Draft d is kept with probability p(d), as the draft model proposes its most likely token and so gave it all of its
    probability q(d) = 1. After the first that is not kept comes a token drawn from max(p - q, 0), scaled to sum 1, else
    one from p. Then outputs are distributed as p. Source: Leviathan et al., arXiv 2211.17192, algorithm 1.

    Args:
        probabilities: float32 [R, vocabulary] of the target model, after each sampled token.
        drafts: int64 [N, drafts], what the draft model proposed; only the row's own are read.
        positions: int64 [N], outputs that the request has so far.
        layout: which tokens are sampled from.
        noise: random numbers.
    """
    width = drafts.shape[1]
    column = torch.arange(width, device=drafts.device)
    draw = layout.requests * _PER_REQUEST + positions
    uniform = noise.uniforms[(draw[:, None] + column) * _PER_POSITION % _UNIFORMS]  # [N, drafts]
    kept = (uniform < probabilities[layout.targets[:, :width], drafts]) & (column < layout.drafts[:, None])
    num_kept = kept.cumprod(1).sum(1)  # [N]
    last = layout.targets.gather(1, num_kept[:, None]).squeeze(1)
    rejected = drafts.gather(1, num_kept.clamp_max(width - 1)[:, None])
    residual = probabilities.index_select(0, last)
    left = residual.gather(1, rejected).masked_fill((num_kept < layout.drafts)[:, None], 0.0)
    residual.scatter_(1, rejected, left)
    race = (draw + num_kept) * _PER_POSITION % _RACES
    # The smallest of exponential variables divided by p wins with probability p: no sum, no search, no order.
    next_tokens = (residual / noise.races.index_select(0, race)).argmax(1)
    return Outcome(num_kept + 1, next_tokens, last)
