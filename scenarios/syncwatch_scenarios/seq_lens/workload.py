"""Answers: what does it cost a serving step to ask the GPU how long its sequences are?

With asynchronous speculative decoding the lengths exist on the GPU only: they depend on drafts that were rejected
there. Seven places of a step want them on the host. In `naive` each of them copies them back, and waits. `precomputed`
hands them an upper bound that the scheduler knows, exact on prefill rows; kernels mask with the true lengths.
`drifting`, which runs only where it is asked for, has the bound as it was first merged upstream: it grows with every
rejected draft, and so do the plans that are made with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from syncwatch import annotate
from syncwatch.bench.scenario import ScenarioOptions, Workload, refuse_options, require_range
from syncwatch_scenarios.hybrid_model.layers import DTYPE, AttentionStandIn, FeedForward
from syncwatch_scenarios.hybrid_model.sizes import ATTENTION_INTERVAL, ModelShape, find_preset
from syncwatch_scenarios.seq_lens.batch import SeqBatch, SlotStates
from syncwatch_scenarios.seq_lens.context import cross_attention, mla_context
from syncwatch_scenarios.seq_lens.planning import (
    common_metadata,
    draft_loop,
    flex_attention,
    input_batch,
    micro_batches,
)
from syncwatch_scenarios.seq_lens.serving_steps import HostLengths, Serving
from syncwatch_scenarios.seq_lens.traffic import TRAFFIC, Traffic, draw_table

_LENGTHS = {
    "naive": HostLengths(bounded=False, refreshed=True),
    "precomputed": HostLengths(bounded=True, refreshed=True),
    "drifting": HostLengths(bounded=True, refreshed=False),
}
_MAX_LAYERS = 1000
_MAX_REQUESTS = 4096
_MAX_TOKENS = 65536


class SeqLensWorkload:
    """A stack of layers and the traffic of one seed.

    The layers are the GEMMs of attention layers; there are four sets of weights, which the layers use in turn.
    """

    def __init__(
        self, preset: str, shape: ModelShape, traffic: Traffic, options: ScenarioOptions, device: torch.device
    ) -> None:
        torch.manual_seed(options.seed)
        self._preset = preset
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


class SeqLens:
    """The entry of `syncwatch list`."""

    name = "seq-lens"
    summary = "Speculative serving: sequence lengths read back from the GPU, against an upper bound on the host"
    variants = ("naive", "precomputed")
    extra_variants = ("drifting",)
    presets = tuple(TRAFFIC)

    def default_preset(self, virtual: bool) -> str:
        """Return the preset that runs where none was named."""
        return "tiny" if virtual else "qwen3.5-2b"

    def build(self, options: ScenarioOptions, device: torch.device) -> Workload:
        """Build the weights and the cache on `device`.

        Raises:
            UsageError: if an option is out of range, with the range, or means nothing here.
        """
        refuse_options(self.name, options, "cache_miss", "regime", "lengths")
        preset = options.preset or "tiny"
        shape = find_preset(preset, self.name)
        layers = shape.layers if options.layers is None else options.layers
        require_range("--layers", layers, 1, _MAX_LAYERS)
        return SeqLensWorkload(preset, replace(shape, layers=layers), _traffic_for(preset, options), options, device)


def _traffic_for(preset: str, options: ScenarioOptions) -> Traffic:
    traffic = TRAFFIC[preset]
    tokens = traffic.tokens if options.tokens is None else options.tokens
    require_range("--tokens", tokens, 1 + traffic.drafts, _MAX_TOKENS)
    requests = traffic.requests if options.batch is None else options.batch
    require_range("--batch", requests, 1, _MAX_REQUESTS)
    return replace(traffic, tokens=tokens, requests=requests)


SCENARIO = SeqLens()
