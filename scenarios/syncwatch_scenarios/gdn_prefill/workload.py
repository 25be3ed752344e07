"""The work of `gdn-prefill`: a stack of hybrid layers, and how each variant tells the device of a step."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from syncwatch import annotate
from syncwatch.sense.virtual.device import running_engine
from syncwatch_scenarios.gdn_prefill import PrefillOptions
from syncwatch_scenarios.gdn_prefill.prefill_run import PrefillRun, prefill_run, upload_metadata
from syncwatch_scenarios.hybrid_model.layers import (
    DTYPE,
    AttentionStandIn,
    GatedDeltaLayer,
    Layer,
    StatePool,
    StepMetadata,
    rms_norm,
)
from syncwatch_scenarios.hybrid_model.sizes import ATTENTION_INTERVAL

_INPUTS = 2
"""Different hidden states that steps start from, in turn; drawn once, so that no step draws any."""


@dataclass(frozen=True, slots=True)
class _Metadata:
    """How a variant tells the device of a step."""

    precomputed: bool
    pinned: bool


_VARIANTS = {
    "naive": _Metadata(precomputed=False, pinned=True),
    "precomputed": _Metadata(precomputed=True, pinned=True),
    "precomputed-pageable": _Metadata(precomputed=True, pinned=False),
}


class GdnPrefillWorkload:
    """The model of one preset and the batches of one seed.

    Weights are random, and there is one set for each place in the interval of four layers, which the layers use in
    turn: time depends on shapes only, and four layers' weights are more than the caches of a GPU hold.
    """

    def __init__(self, run: PrefillRun, device: torch.device) -> None:
        torch.manual_seed(run.seed)
        self._run = run
        self._device = device
        shape = run.shape
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
        return self._run.parameters

    @torch.no_grad()
    def step(self, variant: str, index: int) -> torch.Tensor:
        """Enqueue step `index` of `variant` and return the last hidden states [T, hidden]."""
        run = self._run
        if run.work is not None:
            with annotate("host work"):
                compute_for(run.work.us_of(run.seed, index))
        with annotate("build metadata"):
            how = _VARIANTS[variant]
            metadata = upload_metadata(run.batch(index), self._device, precomputed=how.precomputed, pinned=how.pinned)
        hidden = self._inputs[index % _INPUTS]
        for number in range(run.shape.layers):
            with annotate(f"layer {number}"):
                hidden = self._layers[number % ATTENTION_INTERVAL](hidden, self._of_layer(metadata))
        return rms_norm(hidden)

    def _of_layer(self, metadata: StepMetadata) -> StepMetadata:
        return metadata.under_another_name() if self._run.cache_miss else metadata


def build(options: PrefillOptions, device: torch.device) -> GdnPrefillWorkload:
    """Build the weights and the batches on `device`.

    Raises:
        UsageError: if an option is out of range, with the range, or two contradict each other.
    """
    return GdnPrefillWorkload(prefill_run(options), device)


def compute_for(microseconds: float) -> None:
    """Keep the calling thread busy for `microseconds`, the GIL held.

    On the virtual device its clock is moved on instead, so that the same steps always cost the same.
    """
    duration_ns = round(microseconds * 1000)
    engine = running_engine()
    if engine is not None:
        engine.clock.work(duration_ns)
        return
    end = time.perf_counter_ns() + duration_ns
    while time.perf_counter_ns() < end:
        pass
