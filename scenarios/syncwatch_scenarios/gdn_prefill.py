"""Answers: what does it cost a prefill step to ask the GPU how many chunks there are?

A stack of hybrid layers at the shapes of served models, launched eagerly on ragged batches. Both variants launch the
same kernels. `naive` leaves the chunk metadata to the ops, which read the lengths back from the GPU: once a step, or
with `--cache-miss` once a GDN layer. `precomputed` counts the chunks on the host, where the scheduler knows the lengths
anyway.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from syncwatch import annotate
from syncwatch.bench.scenario import ScenarioOptions, Workload
from syncwatch.errors import UsageError
from syncwatch_scenarios.gdn_batches import StepMetadata, draw_batch, upload_metadata
from syncwatch_scenarios.gdn_layers import (
    DTYPE,
    AttentionStandIn,
    GatedDeltaLayer,
    Layer,
    StatePool,
    rms_norm,
)
from syncwatch_scenarios.gdn_models import ATTENTION_INTERVAL, PRESETS, ModelShape, find_preset

_MAX_LAYERS = 1000
_MAX_TOKENS = 1_000_000
_INPUTS = 2
"""Different hidden states that steps start from, in turn; drawn once, so that no step draws any."""


class GdnPrefillWorkload:
    """The model of one preset and the batches of one seed.

    Weights are random, and there is one set for each place in the interval of four layers, which the layers use in
    turn: time depends on shapes only, and four layers' weights are more than the caches of a GPU hold.
    """

    def __init__(self, preset: str, shape: ModelShape, options: ScenarioOptions, device: torch.device) -> None:
        torch.manual_seed(options.seed)
        self._device = device
        self._preset = preset
        self._shape = shape
        self._seed = options.seed
        self._cache_miss = options.cache_miss
        states = StatePool.create(shape, shape.batch, device)
        self._layers: list[Layer] = [
            GatedDeltaLayer(shape, states, device) for _ in range(min(ATTENTION_INTERVAL - 1, shape.layers))
        ]
        if shape.layers >= ATTENTION_INTERVAL:
            self._layers.append(AttentionStandIn(shape, device))
        self._inputs = [torch.randn(shape.tokens, shape.hidden, dtype=DTYPE, device=device) for _ in range(_INPUTS)]

    @property
    def parameters(self) -> Mapping[str, str]:
        """What is run, for the report."""
        shape = self._shape
        attention = shape.layers // ATTENTION_INTERVAL
        return {
            "preset": self._preset,
            "layers": f"{shape.layers - attention} GDN, {attention} in place of attention",
            "hidden size": str(shape.hidden),
            "GDN heads": f"{shape.key_heads} key, {shape.value_heads} value, of {shape.head_size}",
            "tokens a step": str(shape.tokens),
            "sequences a step": f"{shape.batch}, ragged",
            "metadata cache": "missed at each layer" if self._cache_miss else "by identity, fresh objects each step",
            "dtype": "bfloat16, state float32",
            "seed": str(self._seed),
        }

    @torch.no_grad()
    def step(self, variant: str, index: int) -> torch.Tensor:
        """Enqueue step `index` of `variant` and return the last hidden states [T, hidden]."""
        with annotate("build metadata"):
            batch = draw_batch(self._shape.tokens, self._shape.batch, self._seed, index)
            metadata = upload_metadata(batch, self._device, precomputed=variant == "precomputed")
        hidden = self._inputs[index % _INPUTS]
        for number in range(self._shape.layers):
            with annotate(f"layer {number}"):
                hidden = self._layers[number % ATTENTION_INTERVAL](hidden, self._of_layer(metadata))
        return rms_norm(hidden)

    def _of_layer(self, metadata: StepMetadata) -> StepMetadata:
        return metadata.under_another_name() if self._cache_miss else metadata


class GdnPrefill:
    """The entry of `syncwatch list`."""

    name = "gdn-prefill"
    summary = "Gated DeltaNet prefill: chunk metadata read back from the GPU, against counted on the host"
    variants = ("naive", "precomputed")
    presets = tuple(PRESETS)

    def default_preset(self, virtual: bool) -> str:
        """Return the preset that runs where none was named."""
        return "tiny" if virtual else "qwen3.5-397b"

    def build(self, options: ScenarioOptions, device: torch.device) -> Workload:
        """Build the weights and the batches on `device`.

        Raises:
            UsageError: if an option is out of range, with the range.
        """
        preset = options.preset or "tiny"
        return GdnPrefillWorkload(preset, _shape_for(find_preset(preset), options), options, device)


def _shape_for(shape: ModelShape, options: ScenarioOptions) -> ModelShape:
    tokens = shape.tokens if options.tokens is None else options.tokens
    _require_range("--tokens", tokens, 1, _MAX_TOKENS)
    batch = min(shape.batch, tokens) if options.batch is None else options.batch
    _require_range("--batch", batch, 1, tokens)
    layers = shape.layers if options.layers is None else options.layers
    _require_range("--layers", layers, 1, _MAX_LAYERS)
    return replace(shape, tokens=tokens, batch=batch, layers=layers)


def _require_range(option: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise UsageError(f"{option} must be from {low} to {high} here, but is {value}.")


SCENARIO = GdnPrefill()
