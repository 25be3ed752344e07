"""The model and the load that each preset of `spec-decode` stands for."""

from __future__ import annotations

from dataclasses import dataclass, replace

from syncwatch_scenarios.hybrid_model.sizes import PRESETS as MODELS
from syncwatch_scenarios.hybrid_model.sizes import ModelShape
from syncwatch_scenarios.serving.scheduler import Limits, Load


@dataclass(frozen=True, slots=True)
class ServingShape:
    """A model with its draft head, and what it serves."""

    model: ModelShape
    """Its `tokens` are the budget of a step, its `batch` the requests that run at once."""
    vocabulary: int
    drafts: int
    """Draft tokens a row."""
    load: Load
    row_multiple: int = 8
    """Batches of decode rows alone are padded to a multiple of this, as vLLM pads to its captured sizes."""

    @property
    def limits(self) -> Limits:
        """What the scheduler is held to."""
        return Limits(self.model.batch, self.model.tokens, self.drafts, self.row_multiple)


# The load is the mean of vLLM #38047's: 1000 ShareGPT prompts of 224,742 tokens, 188,216 tokens of output. That run was
# of Qwen3.5-2B with one draft; two for the larger models are this project's choice. Of the 397B model there is one of
# eight tensor-parallel ranks: an eighth of the heads, of the experts' width and of the vocabulary, without the
# collectives between them. `tiny` is for Triton's interpreter; its first four steps are prefill, mixed, speculative and
# mixed, so that the three that are watched by default show both classes that differ.
_SHAREGPT = Load(prompt_mean=225, output_mean=188)
PRESETS = {
    "tiny": ServingShape(
        ModelShape(4, 64, 1, 2, 16, 2, 1, 32, 128, tokens=32, batch=4), 256, 2, Load(12, 6), row_multiple=4
    ),
    "qwen3.5-2b": ServingShape(replace(MODELS["qwen3.5-2b"], batch=256), 248320, 1, _SHAREGPT),
    "qwen3-next-80b": ServingShape(replace(MODELS["qwen3-next-80b"], batch=128), 151936, 2, _SHAREGPT),
    "qwen3.5-397b-tp8": ServingShape(
        ModelShape(60, 4096, 2, 8, 128, 4, 1, 256, 11 * 128, tokens=8192, batch=256), 248320 // 8, 2, _SHAREGPT
    ),
}
