"""References for the decode kernels: both decode ops in plain torch, row by row, written for clarity, not speed.

Slots, prefix sums and counts are host integers here, as in `reference.py`, and the arithmetic is done in the dtype of
the arguments: pass float64 for the truth.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch.nn import functional

from syncwatch_kernels.gdn.numerics import CONV_WIDTH
from syncwatch_kernels.gdn.reference import reference_recurrent


def reference_recurrent_decode(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor,
    beta: torch.Tensor,
    states: torch.Tensor,
    slots: Sequence[Sequence[int]],
    cu_seqlens: Sequence[int],
    num_accepted_tokens: Sequence[int] | None = None,
    scale: float | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Apply the gated delta rule to states of a pool; the rules are those of `recurrent_gated_delta_rule_decode`.

    Args:
        q: [1, T, Hk, K], of unit length.
        k: [1, T, Hk, K], of unit length.
        v: [1, T, Hv, V]
        g: [1, T, Hv]
        beta: [1, T, Hv]
        states: [slots, Hv, V, K]; not written to.
        slots: N rows of one column, or with `num_accepted_tokens` of S + 1.
        cu_seqlens: N + 1 prefix sums of the rows' tokens.
        num_accepted_tokens: N counts, or None.
        scale: multiplies the queries; K ** -0.5 where None.

    Returns:
        The output [1, T, Hv, V] and the pool afterwards.
    """
    pool, o = states.clone(), torch.zeros_like(v)
    columns = None if num_accepted_tokens is None else len(slots[0])
    for row, begin, tokens in _rows(cu_seqlens, num_accepted_tokens, columns):
        slot = slots[row][begin]
        if not 0 < slot < len(pool):
            continue
        state = pool[slot].clone()[None]
        for column, t in enumerate(tokens):
            at = slice(t, t + 1)
            o[:, at], state = reference_recurrent(
                q[:, at], k[:, at], v[:, at], g[:, at], beta[:, at], [0, 1], state, scale
            )
            target = slot if columns is None else slots[row][column]
            if 0 < target < len(pool):
                pool[target] = state[0]
    return o, pool


def reference_causal_conv1d_update(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    conv_states: torch.Tensor,
    slots: Sequence[int],
    cu_seqlens: Sequence[int],
    num_accepted_tokens: Sequence[int] | None = None,
    silu: bool = True,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Convolve with inputs from a pool; the rules are those of `causal_conv1d_update`.

    Args:
        x: [T, C]
        weight: [C, 4], the last tap on the current token.
        bias: [C] or None.
        conv_states: [slots, 3 + S, C], oldest first; not written to.
        slots: N slots.
        cu_seqlens: N + 1 prefix sums of the rows' tokens.
        num_accepted_tokens: N counts, or None.
        silu: whether SiLU follows.

    Returns:
        The output [T, C] and the pool afterwards.
    """
    past = CONV_WIDTH - 1
    pool, y = conv_states.clone(), torch.zeros_like(x)
    columns = None if num_accepted_tokens is None else conv_states.shape[1] - past + 1
    for row, begin, tokens in _rows(cu_seqlens, num_accepted_tokens, columns):
        if not tokens or not 0 < slots[row] < len(pool):
            continue
        line = torch.cat((pool[slots[row], begin : begin + past], x[tokens.start : tokens.stop]))
        mixed = (line.unfold(0, CONV_WIDTH, 1) * weight).sum(-1)
        mixed = mixed if bias is None else mixed + bias
        y[tokens.start : tokens.stop] = functional.silu(mixed) if silu else mixed
        kept = line[len(tokens) :] if columns is None else line[1:]
        pool[slots[row], : len(kept)] = kept
    return y, pool


def _rows(
    cu_seqlens: Sequence[int], num_accepted_tokens: Sequence[int] | None, columns: int | None
) -> Iterator[tuple[int, int, range]]:
    """Yield each row's index, the column its state is in, and the tokens that are computed."""
    for row, (start, end) in enumerate(pairwise(cu_seqlens)):
        if num_accepted_tokens is None or columns is None:
            yield row, 0, range(start, end)
        else:
            accepted = min(max(num_accepted_tokens[row], 1), columns)
            yield row, accepted - 1, range(start, min(end, start + columns))
