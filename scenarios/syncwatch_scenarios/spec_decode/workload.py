"""The work of `spec-decode`: a model, and for each variant a server at some step of the same trace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from syncwatch.bench import require_range
from syncwatch_scenarios.serving.metrics import serving_figures
from syncwatch_scenarios.serving.scheduler import draw_requests
from syncwatch_scenarios.spec_decode import MAX_TOKENS, SpecDecodeOptions
from syncwatch_scenarios.spec_decode.model import GROUPS, SpecDecodeModel, gdn_layers
from syncwatch_scenarios.spec_decode.presets import PRESETS, ServingShape
from syncwatch_scenarios.spec_decode.sampling import ACCEPTANCE
from syncwatch_scenarios.spec_decode.serving_loop import ServingLoop, StepOutput


class SpecDecodeWorkload:
    """The model of one preset, and for each variant a server that is at some step of the same trace."""

    def __init__(self, shape: ServingShape, options: SpecDecodeOptions, device: torch.device) -> None:
        torch.manual_seed(options.seed)
        self._preset = options.preset
        self._shape = shape
        self._seed = options.seed
        self._model = SpecDecodeModel(shape, device)
        self._loops: dict[str, ServingLoop] = {}

    @property
    def parameters(self) -> Mapping[str, str]:
        """What is run, for the report."""
        shape, model = self._shape, self._shape.model
        gdn = gdn_layers(model.layers)
        return {
            "preset": self._preset,
            "layers": f"{gdn} GDN, {model.layers - gdn} in place of attention",
            "hidden size": str(model.hidden),
            "GDN heads": f"{model.key_heads} key, {model.value_heads} value, of {model.head_size}",
            "tokens a step": f"at most {model.tokens}",
            "requests at once": f"at most {model.batch}",
            "prompts and outputs": f"{shape.load.prompt_mean} and {shape.load.output_mean} tokens on average",
            "draft tokens": f"{shape.drafts}, each accepted with probability {ACCEPTANCE:g}",
            "KV-cache groups of GDN": str(GROUPS),
            "launches": "eager, no CUDA graph",
            "scheduling": "one step ahead; an event is waited for each step",
            "dtype": "bfloat16, state float32",
            "seed": str(self._seed),
        }

    def step(self, variant: str, index: int) -> torch.Tensor:
        """Enqueue step `index` of the trace and return its hidden states and new tokens, float32 and flat.

        A step needs the states that the one before it left. So step 0 begins the trace anew, and a step out of turn
        runs those before it first.
        """
        if not self._is_at(variant, index):
            self._begin(variant)
            for _ in range(index):
                self._loops[variant].step()
        output = self._loops[variant].step()
        assert output is not None, "the trace has no end"
        return _compared(output)

    def figures(self, variant: str) -> Mapping[str, float | None]:
        """Return how well `variant` served the steps since step 0; the device must have been waited for.

        Times are those of the device's clock, at which the tokens of a step were in the host's memory.

        Returns:
            The figures of `serving_figures`, and `draft_acceptance`, the part of the drafts that stood.
        """
        loop = self._loops[variant]
        loop.finish()
        drafted = loop.transcript.drafted
        acceptance = loop.transcript.accepted / drafted if drafted else None
        return {**serving_figures(loop.deliveries()), "draft_acceptance": acceptance}

    def _is_at(self, variant: str, index: int) -> bool:
        """Whether `index` is the step that comes next; no loop is kept here, as its pools are of many gigabytes."""
        loop = self._loops.get(variant)
        return loop is not None and not loop.finished and 0 < index == len(loop.transcript.kinds)

    def _begin(self, variant: str) -> None:
        self._loops.pop(variant, None)
        requests = draw_requests(self._shape.load, self._seed)
        self._loops[variant] = ServingLoop(
            self._model, self._shape, requests, self._seed, masks_on_device=variant == "naive"
        )


def build(options: SpecDecodeOptions, device: torch.device) -> SpecDecodeWorkload:
    """Build the weights on `device`.

    Raises:
        UsageError: if an option is out of range, with the range.
    """
    return SpecDecodeWorkload(shape_for(options), options, device)


def _compared(output: StepOutput) -> torch.Tensor:
    # Token numbers stay below 2^24, so float32 holds them exactly.
    return torch.cat((output.hidden.flatten().float(), output.emitted.flatten().float()))


def shape_for(options: SpecDecodeOptions) -> ServingShape:
    """Return the shape of the preset with what the user chose instead.

    Raises:
        UsageError: if a step has no room for a row of each request.
    """
    shape = PRESETS[options.preset]
    batch = shape.model.batch if options.batch is None else options.batch
    least = batch * (1 + shape.drafts)
    tokens = max(shape.model.tokens, least) if options.tokens is None else options.tokens
    require_range("--tokens", tokens, least, MAX_TOKENS)
    layers = shape.model.layers if options.layers is None else options.layers
    return replace(shape, model=replace(shape.model, tokens=tokens, batch=batch, layers=layers))
