"""What one layer launches: GDN layers run this project's kernels, the others the GEMMs of their shape."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import torch
from syncwatch_kernels.gdn import causal_conv1d, chunk_gated_delta_rule, gated_rms_norm, gating
from syncwatch_kernels.gdn.numerics import CONV_WIDTH, RMS_NORM_EPS
from torch.nn import functional

from syncwatch_scenarios.hybrid_model.sizes import ModelShape

DTYPE = torch.bfloat16


@dataclass(frozen=True, slots=True)
class StepMetadata:
    """What the kernels of one step are told, on the device."""

    cu_seqlens: torch.Tensor
    """int32 [N + 1]"""

    is_new: torch.Tensor
    """bool [N]"""

    chunk_indices: torch.Tensor | None
    """int32 [NT, 2], or None where the ops are left to find it."""

    chunk_offsets: torch.Tensor | None
    """int32 [N + 1], or None where the ops are left to find it."""

    def under_another_name(self) -> StepMetadata:
        """Return the same values with another `cu_seqlens` object, which no identity cache knows."""
        return replace(self, cu_seqlens=self.cu_seqlens.view(-1))


@dataclass(frozen=True, slots=True)
class StatePool:
    """What each sequence carries from step to step, one slot a sequence.

    Read and written are kept apart, so that a step gives the same output however often it is run; and all layers share
    the slots, as only the traffic counts here.
    """

    conv_before: torch.Tensor
    conv_after: torch.Tensor
    """[N, 3, C]"""

    recurrent_before: torch.Tensor
    recurrent_after: torch.Tensor
    """float32 [N, Hv, V, K]"""

    @classmethod
    def create(cls, shape: ModelShape, sequences: int, device: torch.device) -> StatePool:
        """Fill the slots that are read with noise."""
        conv = torch.randn(sequences, CONV_WIDTH - 1, shape.conv_width, dtype=DTYPE, device=device)
        size = shape.head_size
        recurrent = torch.randn(sequences, shape.value_heads, size, size, dtype=torch.float32, device=device)
        return cls(conv, torch.zeros_like(conv), recurrent.mul_(size**-0.5), torch.zeros_like(recurrent))


class Layer(Protocol):
    """One layer, residual connections included."""

    def __call__(self, hidden: torch.Tensor, metadata: StepMetadata) -> torch.Tensor:
        """Map hidden states [T, hidden] to the next, without waiting for the device."""


class GatedDeltaLayer:
    """Projections, short convolution, gated delta rule, gated norm, projection; then a feed-forward."""

    def __init__(self, shape: ModelShape, states: StatePool, device: torch.device) -> None:
        self._shape = shape
        self._states = states
        self._in_qkvz = _weight(shape.hidden, shape.conv_width + shape.value_width, device)
        self._in_ba = _weight(shape.hidden, 2 * shape.value_heads, device)
        self._conv = _weight(CONV_WIDTH, shape.conv_width, device)
        self._a_log = torch.empty(shape.value_heads, device=device).uniform_(1.0, 16.0).log_()
        self._dt_bias = torch.randn(shape.value_heads, device=device)
        self._norm = torch.ones(shape.head_size, dtype=DTYPE, device=device)
        self._out = _weight(shape.value_width, shape.hidden, device)
        self._feedforward = FeedForward(shape, device)

    def __call__(self, hidden: torch.Tensor, metadata: StepMetadata) -> torch.Tensor:
        """Map hidden states [T, hidden] to the next."""
        shape = self._shape
        normed = rms_norm(hidden)
        qkvz = functional.linear(normed, self._in_qkvz)
        mixed, z = qkvz[:, : shape.conv_width], qkvz[:, shape.conv_width :]
        b, a = functional.linear(normed, self._in_ba).chunk(2, dim=1)
        o = self._delta_rule(self._convolve(mixed, metadata), a, b, metadata)
        gated = gated_rms_norm(o, _heads(z, shape.value_heads), self._norm)
        return self._feedforward(hidden + functional.linear(gated.flatten(1), self._out))

    def _convolve(self, mixed: torch.Tensor, metadata: StepMetadata) -> torch.Tensor:
        before = self._states.conv_before.masked_fill(metadata.is_new[:, None, None], 0.0)
        y, after = causal_conv1d(mixed, self._conv, metadata.cu_seqlens, before, True, metadata.chunk_indices)
        assert after is not None
        self._states.conv_after.copy_(after)
        return y

    def _delta_rule(
        self, mixed: torch.Tensor, a: torch.Tensor, b: torch.Tensor, metadata: StepMetadata
    ) -> torch.Tensor:
        shape = self._shape
        q, k = mixed[:, : 2 * shape.key_width].chunk(2, dim=1)
        v = mixed[:, 2 * shape.key_width :]
        g, beta = gating(a, b, self._a_log, self._dt_bias)
        o, after = chunk_gated_delta_rule(
            _heads(q, shape.key_heads).unsqueeze(0),
            _heads(k, shape.key_heads).unsqueeze(0),
            _heads(v, shape.value_heads).unsqueeze(0),
            g.unsqueeze(0),
            beta.unsqueeze(0),
            metadata.cu_seqlens,
            initial_state=self._states.recurrent_before.masked_fill(metadata.is_new[:, None, None, None], 0.0),
            output_final_state=True,
            chunk_indices=metadata.chunk_indices,
            chunk_offsets=metadata.chunk_offsets,
            use_qk_l2norm=True,
        )
        assert after is not None
        self._states.recurrent_after.copy_(after)
        return o.squeeze(0)


class AttentionStandIn:
    """The projections of a gated attention layer, without the attention between them; then a feed-forward.

    Attention has metadata and kernels of its own, which are not this scenario's subject.
    """

    def __init__(self, shape: ModelShape, device: torch.device) -> None:
        self._query_width = shape.query_heads * shape.attention_head_size
        kv_width = 2 * shape.kv_heads * shape.attention_head_size
        self._in = _weight(shape.hidden, 2 * self._query_width + kv_width, device)
        self._out = _weight(self._query_width, shape.hidden, device)
        self._feedforward = FeedForward(shape, device)

    def __call__(self, hidden: torch.Tensor, metadata: StepMetadata | None = None) -> torch.Tensor:
        """Map hidden states [T, hidden] to the next; the metadata is not looked at."""
        projected = functional.linear(rms_norm(hidden), self._in)
        query, gate = projected[:, : 2 * self._query_width].chunk(2, dim=1)
        return self._feedforward(hidden + functional.linear(query * gate.sigmoid(), self._out))


class FeedForward:
    """A dense feed-forward of the width that is active for a token."""

    def __init__(self, shape: ModelShape, device: torch.device) -> None:
        self._gate_up = _weight(shape.hidden, 2 * shape.feedforward, device)
        self._down = _weight(shape.feedforward, shape.hidden, device)

    def __call__(self, hidden: torch.Tensor) -> torch.Tensor:
        """Map hidden states [T, hidden] to the next."""
        gate, up = functional.linear(rms_norm(hidden), self._gate_up).chunk(2, dim=1)
        return hidden + functional.linear(functional.silu(gate) * up, self._down)


def rms_norm(hidden: torch.Tensor) -> torch.Tensor:
    """Normalise each token, [T, hidden]."""
    return functional.rms_norm(hidden, hidden.shape[1:], eps=RMS_NORM_EPS)


def _heads(x: torch.Tensor, heads: int) -> torch.Tensor:
    return x.view(x.shape[0], heads, -1)


def _weight(inputs: int, outputs: int, device: torch.device) -> torch.Tensor:
    """Draw [outputs, inputs] such that outputs are about as large as inputs, and activations stay finite."""
    return torch.randn(outputs, inputs, dtype=DTYPE, device=device).mul_(inputs**-0.5)
