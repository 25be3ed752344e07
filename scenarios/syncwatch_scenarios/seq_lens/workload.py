"""The work of `seq-lens`: the seven places of a step that want to know how long the sequences are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from syncwatch import annotate
from syncwatch.bench import require_range
from syncwatch_scenarios.hybrid_model.layers import DTYPE, AttentionStandIn, FeedForward
from syncwatch_scenarios.hybrid_model.sizes import ATTENTION_INTERVAL, PRESETS, ModelShape
from syncwatch_scenarios.seq_lens import MAX_TOKENS, SeqLensOptions
from syncwatch_scenarios.seq_lens.async_scheduler import draw_table
from syncwatch_scenarios.seq_lens.batch import SeqBatch, SlotStates
from syncwatch_scenarios.seq_lens.planning import (
    common_metadata,
    cross_attention,
    draft_loop,
    flex_attention,
    input_batch,
    micro_batches,
    mla_context,
)
from syncwatch_scenarios.seq_lens.serving_steps import HostLengths, Serving
from syncwatch_scenarios.seq_lens.traffic import TRAFFIC, Traffic

_LENGTHS = {
    "naive": HostLengths(bounded=False, refreshed=True),
    "precomputed": HostLengths(bounded=True, refreshed=True),
    "drifting": HostLengths(bounded=True, refreshed=False),
}


class SeqLensWorkload:
    """A stack of layers and the traffic of one seed.

    The layers are the GEMMs of attention layers; there are four sets of weights, which the layers use in turn.
    """

    def __init__(self, shape: ModelShape, traffic: Traffic, options: SeqLensOptions, device: torch.device) -> None:
        torch.manual_seed(options.seed)
        self._preset = options.preset
        self._shape = shape
        self._traffic = traffic
        self._seed = options.seed
        self._states = SlotStates.create(
            traffic.requests, traffic.longest, torch.from_numpy(draw_table(traffic, options.seed)), device
        )
        self._layers = [AttentionStandIn(shape, device) for _ in range(min(ATTENTION_INTERVAL, shape.layers))]
        self._draft_layer = FeedForward(shape, device)
        self._input = torch.randn(traffic.tokens, shape.hidden, dtype=DTYPE, device=device)
        self._queries = torch.randn(traffic.requests, self._states.cache.shape[1], device=device)
        self._servings: dict[str, Serving] = {}

    @property
    def parameters(self) -> Mapping[str, str]:
        """What is run, for the report."""
        traffic = self._traffic
        return {
            "preset": self._preset,
            "layers": f"{self._shape.layers} in place of attention",
            "hidden size": str(self._shape.hidden),
            "requests at once": f"up to {traffic.requests}",
            "tokens a step": f"up to {traffic.tokens}",
            "prompts": f"{traffic.prompt[0]} to {traffic.prompt[1]} tokens",
            "outputs": f"{traffic.output[0]} to {traffic.output[1]} tokens",
            "drafts": f"{traffic.drafts} a decode row, {traffic.acceptance / 10:g} % accepted",
            "steps in flight": str(traffic.steps_in_flight),
            "dtype": "bfloat16",
            "seed": str(self._seed),
        }

    @torch.no_grad()
    def step(self, variant: str, index: int) -> torch.Tensor:
        """Enqueue step `index` of `variant` and return all that was planned and computed, float64.

        Steps go on from one another; an index that does not follow on the last begins anew.
        """
        serving = self._serving(variant, index)
        batch = serving.next_batch()
        with annotate("plan"):
            plans = self._plan(batch)
        hidden = self._forward(batch)
        with annotate("verify drafts"):
            rejected = serving.verify(batch)
        with annotate("draft"):
            drafted, last = draft_loop(batch, rejected, hidden, self._draft_layer, self._traffic.drafts)
        return torch.cat([each.flatten().double() for each in (*plans, rejected, drafted, last)])

    def _serving(self, variant: str, index: int) -> Serving:
        serving = self._servings.get(variant)
        if serving is None or serving.steps != index:
            serving = Serving(self._traffic, self._seed, self._states, _LENGTHS[variant])
            self._servings[variant] = serving
            for _ in range(index):
                serving.verify(serving.next_batch())
        return serving

    def _plan(self, batch: SeqBatch) -> tuple[torch.Tensor, ...]:
        return (
            input_batch(batch),
            common_metadata(batch),
            cross_attention(batch),
            mla_context(batch, self._queries, self._traffic.tokens),
            flex_attention(batch),
            micro_batches(batch),
        )

    def _forward(self, batch: SeqBatch) -> torch.Tensor:
        """Return the hidden states of each row's last token, [R, hidden]; padding has some token's."""
        hidden = self._input[: batch.tokens]
        for number in range(self._shape.layers):
            with annotate(f"layer {number}"):
                hidden = self._layers[number % len(self._layers)](hidden)
        return hidden.index_select(0, (batch.query_lens.cumsum(0) - 1).clamp(min=0))


def build(options: SeqLensOptions, device: torch.device) -> SeqLensWorkload:
    """Build the weights and the cache on `device`.

    Raises:
        UsageError: if a step has no room for a decode row.
    """
    shape = PRESETS[options.preset]
    layers = shape.layers if options.layers is None else options.layers
    return SeqLensWorkload(replace(shape, layers=layers), _traffic_for(options), options, device)


def _traffic_for(options: SeqLensOptions) -> Traffic:
    traffic = TRAFFIC[options.preset]
    tokens = traffic.tokens if options.tokens is None else options.tokens
    require_range("--tokens", tokens, 1 + traffic.drafts, MAX_TOKENS)
    return replace(traffic, tokens=tokens, requests=traffic.requests if options.batch is None else options.batch)
