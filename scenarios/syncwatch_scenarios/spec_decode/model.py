"""What runs between the token ids of a step and its new tokens: a hybrid target model and its draft head."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from syncwatch import annotate
from syncwatch_scenarios.hybrid_model.layers import AttentionStandIn, StepMetadata, rms_norm
from syncwatch_scenarios.hybrid_model.sizes import ATTENTION_INTERVAL
from syncwatch_scenarios.spec_decode.decode_layers import LayerStates, SpecDecodeLayer, draw_weight
from syncwatch_scenarios.spec_decode.inputs import StepInputs
from syncwatch_scenarios.spec_decode.metadata import GdnMetadata
from syncwatch_scenarios.spec_decode.presets import ServingShape
from syncwatch_scenarios.spec_decode.sampling import Noise, token_probabilities

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
