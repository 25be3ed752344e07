"""What runs between the token ids of a step and its new tokens: a hybrid target model, its layers and draft head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from syncwatch_kernels.gdn import (
    causal_conv1d,
    causal_conv1d_update,
    chunk_gated_delta_rule,
    gated_rms_norm,
    gating,
    recurrent_gated_delta_rule_decode,
)
from syncwatch_kernels.gdn.numerics import CONV_WIDTH
from torch.nn import functional

from syncwatch import annotate
from syncwatch_scenarios.hybrid_model.layers import DTYPE, AttentionStandIn, FeedForward, StepMetadata, rms_norm
from syncwatch_scenarios.hybrid_model.sizes import ATTENTION_INTERVAL, ModelShape
from syncwatch_scenarios.spec_decode.inputs import StepInputs
from syncwatch_scenarios.spec_decode.metadata import DecodeRows, GdnMetadata, PrefillRows
from syncwatch_scenarios.spec_decode.presets import ServingShape
from syncwatch_scenarios.spec_decode.sampling import Noise, token_probabilities

_PAST = CONV_WIDTH - 1


@dataclass(frozen=True, slots=True)
class LayerStates:
    """The pool of one layer. A request has drafts + 1 places in it; place 0 is nobody's."""

    conv: torch.Tensor
    """[places, 3 + drafts, C], inputs of the convolution; of a request's places only the first is used."""
    recurrent: torch.Tensor
    """float32 [places, Hv, V, K]"""

    @classmethod
    def create(cls, shape: ModelShape, places: int, drafts: int, device: torch.device) -> LayerStates:
        """Fill the pool with NaN: a request that read what it had not written would show."""
        conv_shape = (places, _PAST + drafts, shape.conv_width)
        state_shape = (places, shape.value_heads, shape.head_size, shape.head_size)
        return cls(
            torch.full(conv_shape, torch.nan, dtype=DTYPE, device=device),
            torch.full(state_shape, torch.nan, dtype=torch.float32, device=device),
        )


class TokenInputs(NamedTuple):
    """What the core of a layer reads of each token: one record, so that nothing is left out where tokens are chosen.

    vLLM chose `mixed` for the rows with drafts and left the gates as they were (#51812).
    """

    mixed: torch.Tensor
    """[T, C], queries, keys and values before the convolution"""
    g: torch.Tensor
    """float32 [T, Hv], natural logarithm of the decay"""
    beta: torch.Tensor
    """float32 [T, Hv], write strength"""

    def at(self, index: torch.Tensor) -> TokenInputs:
        """Return the tokens at `index`, int64 [tokens]."""
        return TokenInputs(*(each.index_select(0, index) for each in self))


class SpecDecodeLayer:
    """Projections, short convolution, gated delta rule, gated norm, projection; then a feed-forward."""

    def __init__(self, shape: ModelShape, device: torch.device) -> None:
        self._shape = shape
        self.in_qkvz = draw_weight(shape.hidden, shape.conv_width + shape.value_width, device)
        self.in_ba = draw_weight(shape.hidden, 2 * shape.value_heads, device)
        self.conv = draw_weight(CONV_WIDTH, shape.conv_width, device)
        self.a_log = torch.empty(shape.value_heads, device=device).uniform_(1.0, 16.0).log_()
        self.dt_bias = torch.randn(shape.value_heads, device=device)
        self.norm = torch.ones(shape.head_size, dtype=DTYPE, device=device)
        self.out = draw_weight(shape.value_width, shape.hidden, device)
        self.feedforward = FeedForward(shape, device)

    def __call__(self, hidden: torch.Tensor, metadata: GdnMetadata, states: LayerStates) -> torch.Tensor:
        """Map hidden states [T, hidden] to the next, and carry the states of the step's requests on."""
        shape = self._shape
        normed = rms_norm(hidden)
        qkvz = functional.linear(normed, self.in_qkvz)
        z = qkvz[:, shape.conv_width :].view(-1, shape.value_heads, shape.head_size)
        b, a = functional.linear(normed, self.in_ba).chunk(2, dim=1)
        inputs = TokenInputs(qkvz[:, : shape.conv_width], *gating(a, b, self.a_log, self.dt_bias))
        gated = gated_rms_norm(self._core(inputs, metadata, states), z, self.norm)
        return self.feedforward(hidden + functional.linear(gated.flatten(1), self.out))

    def _core(self, inputs: TokenInputs, metadata: GdnMetadata, states: LayerStates) -> torch.Tensor:
        """Return [T, Hv, V], each kind of rows by its own kernels."""
        shape = self._shape
        o = inputs.mixed.new_empty(inputs.mixed.shape[0], shape.value_heads, shape.head_size)
        if (decode := metadata.decode) is not None:
            if decode.token_index is None:
                return self._decode(inputs, decode, states)
            o.index_copy_(0, decode.token_index, self._decode(inputs.at(decode.token_index), decode, states))
        if (prefill := metadata.prefill) is not None:
            if prefill.token_index is None:
                return self._prefill(inputs, prefill, states)
            o.index_copy_(0, prefill.token_index, self._prefill(inputs.at(prefill.token_index), prefill, states))
        return o

    def _decode(self, inputs: TokenInputs, rows: DecodeRows, states: LayerStates) -> torch.Tensor:
        mixed = causal_conv1d_update(
            inputs.mixed, self.conv, None, states.conv, rows.slots[:, 0], rows.cu_seqlens, rows.num_accepted
        )
        o = recurrent_gated_delta_rule_decode(
            *self._heads(mixed),
            inputs.g[None],
            inputs.beta[None],
            states.recurrent,
            rows.slots,
            rows.cu_seqlens,
            rows.num_accepted,
        )
        return o.squeeze(0)

    def _prefill(self, inputs: TokenInputs, rows: PrefillRows, states: LayerStates) -> torch.Tensor:
        window = rows.conv_offset[:, None] + torch.arange(_PAST, device=inputs.mixed.device)
        past = states.conv[rows.write_slots[:, None], window].masked_fill(rows.is_new[:, None, None], 0.0)
        mixed, newest = causal_conv1d(inputs.mixed, self.conv, rows.cu_seqlens, past, True, rows.chunk_indices)
        before = states.recurrent.index_select(0, rows.read_slots).masked_fill(rows.is_new[:, None, None, None], 0.0)
        o, after = chunk_gated_delta_rule(
            *self._heads(mixed),
            inputs.g[None],
            inputs.beta[None],
            rows.cu_seqlens,
            initial_state=before,
            output_final_state=True,
            chunk_indices=rows.chunk_indices,
            chunk_offsets=rows.chunk_offsets,
            use_qk_l2norm=True,
        )
        assert newest is not None and after is not None
        # At the front, where a count of one finds them.
        states.conv[:, :_PAST].index_copy_(0, rows.write_slots, newest)
        states.recurrent.index_copy_(0, rows.write_slots, after)
        return o.squeeze(0)

    def _heads(self, mixed: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return queries, keys [1, T, Hk, K] and values [1, T, Hv, V], views of `mixed`."""
        shape = self._shape
        q, k, v = mixed[None].split((shape.key_width, shape.key_width, shape.value_width), dim=2)
        return (
            q.unflatten(2, (shape.key_heads, -1)),
            k.unflatten(2, (shape.key_heads, -1)),
            v.unflatten(2, (shape.value_heads, -1)),
        )


def draw_weight(inputs: int, outputs: int, device: torch.device) -> torch.Tensor:
    """Draw [outputs, inputs] such that outputs are about as large as inputs, and activations stay finite."""
    return torch.randn(outputs, inputs, dtype=DTYPE, device=device).mul_(inputs**-0.5)


GROUPS = ATTENTION_INTERVAL - 1
"""KV-cache groups of GDN layers: groups are as large as the attention layers are many, so three of them are GDN's."""


class SpecDecodeModel:
    """Random weights, one set for each place in the interval of four layers, which the layers use in turn.

    The draft head is one multi-token prediction layer: the embedding of the new token beside the last hidden state,
    projected, a layer of the attention kind, and the target's own vocabulary projection. It runs on the last token of
    each row; a server runs its first pass on every token, to fill the head's KV cache, which attention stand-ins lack.
    """

    def __init__(self, shape: ServingShape, device: torch.device) -> None:
        self._shape = shape
        self._device = device
        model = shape.model
        self.layers = [SpecDecodeLayer(model, device) for _ in range(min(GROUPS, model.layers))]
        self.attention = AttentionStandIn(model, device)
        self.embedding = draw_weight(model.hidden, shape.vocabulary, device)
        self._draft_in = draw_weight(2 * model.hidden, model.hidden, device)
        self._draft_layer = AttentionStandIn(model, device)
        self.noise = Noise.draw(shape.vocabulary, device)

    def create_states(self) -> list[LayerStates]:
        """Return a pool for each GDN layer."""
        shape, gdn = self._shape, gdn_layers(self._shape.model.layers)
        places = 1 + shape.model.batch * (shape.drafts + 1)
        return [LayerStates.create(shape.model, places, shape.drafts, self._device) for _ in range(gdn)]

    def forward(
        self, ids: torch.Tensor, inputs: StepInputs, metadata: Sequence[GdnMetadata], states: Sequence[LayerStates]
    ) -> torch.Tensor:
        """Map token ids [T] to the last hidden states [T, hidden], and carry the states on."""
        hidden = functional.embedding(ids, self.embedding) * self._shape.model.hidden**0.5
        pools = iter(states)
        for number in range(self._shape.model.layers):
            place = number % ATTENTION_INTERVAL
            with annotate(f"layer {number}"):
                if place < GROUPS:
                    hidden = self.layers[place](hidden, metadata[place], next(pools))
                else:
                    hidden = self.attention(hidden, _attention_metadata(inputs))
        return rms_norm(hidden)

    def probabilities(self, hidden: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """Return float32 [R, vocabulary]: what follows the tokens `ids` [R] with last hidden states [R, hidden]."""
        return token_probabilities(functional.linear(hidden, self.embedding), ids)

    def draft(self, hidden: torch.Tensor, ids: torch.Tensor, inputs: StepInputs) -> torch.Tensor:
        """Return int64 [N, drafts]: the most likely tokens after `ids` [N], one after the other."""
        drafted = []
        for _ in range(self._shape.drafts):
            embedded = functional.embedding(ids, self.embedding) * self._shape.model.hidden**0.5
            both = torch.cat((rms_norm(embedded), rms_norm(hidden)), dim=1)
            hidden = rms_norm(self._draft_layer(functional.linear(both, self._draft_in), _attention_metadata(inputs)))
            ids = self.probabilities(hidden, ids).argmax(1)
            drafted.append(ids)
        return torch.stack(drafted, dim=1)


def gdn_layers(layers: int) -> int:
    """Return how many of `layers` are GDN."""
    return layers - layers // ATTENTION_INTERVAL


def _attention_metadata(inputs: StepInputs) -> StepMetadata:
    """Return what a layer in place of attention is told."""
    common = inputs.common
    return StepMetadata(common.cu_seqlens, common.goes_on, None, None)
