"""What the fused cells of recurrent layers compute, which only CUDA has: the same sums, written out.

The arguments and results are those of `_thnn_fused_lstm_cell` and its like in torch's native_functions.yaml; gates are
`[batch, 4 * hidden]` for LSTM and `[batch, 3 * hidden]` for GRU, in torch's order.
"""

from __future__ import annotations

from typing import Any

import torch


def _sum(*parts: torch.Tensor | None) -> torch.Tensor:
    given = [part for part in parts if part is not None]
    total = given[0]
    for part in given[1:]:
        total = total + part
    return total


def lstm(
    input_gates: torch.Tensor,
    hidden_gates: torch.Tensor,
    cx: torch.Tensor,
    input_bias: torch.Tensor | None = None,
    hidden_bias: torch.Tensor | None = None,
) -> tuple[Any, ...]:
    """Return hidden state, cell state, and the gates after their activation, for backward."""
    gates = _sum(input_gates, hidden_gates, input_bias, hidden_bias)
    into, forget, cell, out = gates.chunk(4, 1)
    into, forget, cell, out = into.sigmoid(), forget.sigmoid(), cell.tanh(), out.sigmoid()
    cy = forget * cx + into * cell
    return out * cy.tanh(), cy, torch.cat([into, forget, cell, out], 1)


def lstm_backward(
    grad_hy: torch.Tensor | None,
    grad_cy: torch.Tensor | None,
    cx: torch.Tensor,
    cy: torch.Tensor,
    workspace: torch.Tensor,
    has_bias: bool,
) -> tuple[Any, ...]:
    """Return the gradients of gates, cell state and biases."""
    into, forget, cell, out = workspace.chunk(4, 1)
    if grad_hy is None and grad_cy is None:
        return None, None, None
    hidden = torch.zeros_like(cy) if grad_hy is None else grad_hy
    squashed = cy.tanh()
    grad_cell = hidden * out * (1 - squashed * squashed)
    if grad_cy is not None:
        grad_cell = grad_cell + grad_cy
    gates = torch.cat(
        [
            grad_cell * cell * into * (1 - into),
            grad_cell * cx * forget * (1 - forget),
            grad_cell * into * (1 - cell * cell),
            hidden * squashed * out * (1 - out),
        ],
        1,
    )
    return gates, grad_cell * forget, gates.sum(0) if has_bias else None


def gru(
    input_gates: torch.Tensor,
    hidden_gates: torch.Tensor,
    hx: torch.Tensor,
    input_bias: torch.Tensor | None = None,
    hidden_bias: torch.Tensor | None = None,
) -> tuple[Any, ...]:
    """Return the hidden state, and what backward needs: reset, update and new gate, old state, hidden part."""
    reset_in, update_in, new_in = _sum(input_gates, input_bias).chunk(3, 1)
    reset_hidden, update_hidden, new_hidden = _sum(hidden_gates, hidden_bias).chunk(3, 1)
    reset, update = (reset_in + reset_hidden).sigmoid(), (update_in + update_hidden).sigmoid()
    new = (new_in + reset * new_hidden).tanh()
    return new + update * (hx - new), torch.cat([reset, update, new, hx, new_hidden], 1)


def gru_backward(grad_hy: torch.Tensor, workspace: torch.Tensor, has_bias: bool) -> tuple[Any, ...]:
    """Return the gradients of input gates, hidden gates, old state and both biases."""
    reset, update, new, hx, new_hidden = workspace.chunk(5, 1)
    grad_update = grad_hy * (hx - new) * (1 - update) * update
    grad_new = grad_hy * (1 - update) * (1 - new * new)
    grad_reset = grad_new * new_hidden * (1 - reset) * reset
    into = torch.cat([grad_reset, grad_update, grad_new], 1)
    hidden = torch.cat([grad_reset, grad_update, grad_new * reset], 1)
    biases = (into.sum(0), hidden.sum(0)) if has_bias else (None, None)
    return into, hidden, grad_hy * update, *biases
