"""The expected results of a serving loop: each request computed by itself, in float64, from the definition."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from syncwatch_kernels.gdn.reference import (
    reference_causal_conv1d,
    reference_gated_rms_norm,
    reference_gating,
    reference_l2norm,
    reference_recurrent,
)
from syncwatch_scenarios.hybrid_model.layers import StepMetadata, rms_norm
from syncwatch_scenarios.hybrid_model.sizes import ATTENTION_INTERVAL
from syncwatch_scenarios.serving.scheduler import Request
from syncwatch_scenarios.spec_decode.inputs import draw_prompt
from syncwatch_scenarios.spec_decode.model import GROUPS, SpecDecodeLayer, SpecDecodeModel
from syncwatch_scenarios.spec_decode.presets import PRESETS, ServingShape
from syncwatch_scenarios.spec_decode.serving_loop import ServingLoop, StepOutput

from tests.helpers.kernel_fixtures import relative_rmse

SEED = 0
CUDA = torch.device("cuda")
BFLOAT16_ROUNDING = 2**-8
"""Largest relative error of rounding to bfloat16."""


def small_shape(*, seats: int, tokens: int, drafts: int = 2, row_multiple: int = 4) -> ServingShape:
    """Return the preset `tiny` with other limits."""
    tiny = PRESETS["tiny"]
    model = replace(tiny.model, tokens=tokens, batch=seats)
    return replace(tiny, model=model, drafts=drafts, row_multiple=row_multiple)


@dataclass(frozen=True)
class Run:
    """A serving loop that was run, and the outputs of its steps."""

    model: SpecDecodeModel
    shape: ServingShape
    loop: ServingLoop
    outputs: list[StepOutput]

    def sequence(self, request: Request) -> list[int]:
        """Return the prompt and the output tokens of `request` that reached the host."""
        prompt: list[int] = draw_prompt(request, self.shape.vocabulary, SEED).tolist()
        return prompt + self.loop.transcript.tokens[request.number]


def serve(
    shape: ServingShape,
    requests: Iterable[Request],
    *,
    steps: int | None = None,
    masks_on_device: bool = False,
    model: SpecDecodeModel | None = None,
) -> Run:
    """Serve `requests` for a number of `steps`, or until every request is done."""
    torch.manual_seed(SEED)
    model = SpecDecodeModel(shape, CUDA) if model is None else model
    loop = ServingLoop(model, shape, iter(requests), SEED, masks_on_device=masks_on_device)
    outputs: list[StepOutput] = []
    while (steps is None or len(outputs) < steps) and (output := loop.step()) is not None:
        outputs.append(output)
    loop.finish()
    return Run(model, shape, loop, outputs)


@dataclass(frozen=True)
class Truth:
    """One request computed by itself in float64, and for each figure the unit in which its error is measured.

    The unit is how far the float64 result moves when the embedding is rounded like bfloat16. A fixed tolerance would
    not do: where a head's output all but cancels, it is normalised to full size, and then any rounding is 20 % of the
    result.
    """

    hidden: torch.Tensor
    """[T, hidden]"""
    hidden_unit: torch.Tensor
    """[T]"""
    states: list[torch.Tensor]
    state_units: list[float]

    @classmethod
    def of(cls, run: Run, sequence: list[int]) -> Truth:
        hidden, states = true_forward(run.model, run.shape, sequence)
        rounded, unit = copy.copy(run.model), torch.full_like(hidden[:, 0], BFLOAT16_ROUNDING)
        state_units = [BFLOAT16_ROUNDING] * len(states)
        generator = torch.Generator("cpu").manual_seed(0)
        for _ in range(3):
            noise = torch.randn(run.model.embedding.shape, generator=generator, device="cpu").to(CUDA).double()
            rounded.embedding = run.model.embedding.double() * (1 + BFLOAT16_ROUNDING * noise)
            moved, moved_states = true_forward(rounded, run.shape, sequence)
            unit = torch.maximum(unit, (moved - hidden).norm(dim=1) / hidden.norm(dim=1))
            errors = [relative_rmse(mine, theirs) for mine, theirs in zip(moved_states, states, strict=True)]
            state_units = list(map(max, state_units, errors))
        return cls(hidden, unit, states, state_units)


def hidden_error(run: Run) -> float:
    """Return the largest error of a last hidden state over all accepted and sampled tokens, in units of `Truth`."""
    truths: dict[int, Truth] = {}
    outputs_so_far: dict[int, int] = {}
    largest = 0.0
    for output in run.outputs:
        first = 0
        counts: list[int] = output.emitted[:, 0].tolist()
        for row, count in zip(output.step.rows, counts, strict=True):
            request, sampled = row.request, slice(first, first + count)
            first += row.drafts + 1
            before = outputs_so_far.get(request.number, 0)
            if not row.samples or before >= request.output_tokens:
                continue
            outputs_so_far[request.number] = before + count
            if request.number not in truths:
                truths[request.number] = Truth.of(run, run.sequence(request))
            truth = truths[request.number]
            known = slice(request.prompt_tokens + before - 1, request.prompt_tokens + before - 1 + count)
            hidden = truth.hidden[known]
            error = (output.hidden[sampled][: len(hidden)].double() - hidden).norm(dim=1) / hidden.norm(dim=1)
            largest = max(largest, (error / truth.hidden_unit[known]).max().item())
    return largest


def state_error(run: Run) -> float:
    """Return the largest error of a state in a pool, over the requests of the last step, in units of `Truth`."""
    errors = []
    for row in run.outputs[-1].step.rows:
        assert len(run.loop.transcript.tokens[row.request.number]) < row.request.output_tokens
        truth = Truth.of(run, run.sequence(row.request)[:-1])
        column = int(run.loop.tables.num_accepted[row.seat].item()) - 1
        for number, (pool, state) in enumerate(zip(run.loop.states, truth.states, strict=True)):
            place = int(run.loop.block_tables[number % GROUPS][row.seat, column].item())
            errors.append(relative_rmse(pool.recurrent[place], state) / truth.state_units[number])
    return max(errors)


def true_forward(
    model: SpecDecodeModel, shape: ServingShape, sequence: list[int]
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Return the last hidden states [T, hidden] of one request by itself, and the final state of each GDN layer."""
    ids = torch.tensor(sequence, device="cpu").to(CUDA)
    hidden = model.embedding.double()[ids] * shape.model.hidden**0.5
    nothing = StepMetadata(ids, ids, None, None)
    states = []
    for number in range(shape.model.layers):
        place = number % ATTENTION_INTERVAL
        if place < GROUPS:
            hidden, state = _true_layer(model.layers[place], shape, hidden)
            states.append(state)
        else:
            hidden = in_double(model.attention)(hidden, nothing)
    return rms_norm(hidden), states


def _true_layer(layer: SpecDecodeLayer, shape: ServingShape, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    model, tokens = shape.model, len(hidden)
    exact = in_double(layer)
    normed = rms_norm(hidden)
    qkvz = normed @ exact.in_qkvz.T
    b, a = (normed @ exact.in_ba.T).chunk(2, dim=1)
    mixed, _ = reference_causal_conv1d(qkvz[:, : model.conv_width], exact.conv, [0, tokens])
    q, k, v = mixed[None].split((model.key_width, model.key_width, model.value_width), dim=2)
    g, beta = reference_gating(a, b, exact.a_log, exact.dt_bias)
    o, states = reference_recurrent(
        reference_l2norm(q.unflatten(2, (model.key_heads, -1))),
        reference_l2norm(k.unflatten(2, (model.key_heads, -1))),
        v.unflatten(2, (model.value_heads, -1)),
        g[None],
        beta[None],
        [0, tokens],
    )
    z = qkvz[:, model.conv_width :].unflatten(1, (model.value_heads, -1))
    gated = reference_gated_rms_norm(o[0], z, exact.norm)
    result: torch.Tensor = exact.feedforward(hidden + gated.flatten(1) @ exact.out.T)
    return result, states[0]


def in_double(module: Any) -> Any:
    """Return a copy whose weights, and those of its parts, are float64."""
    double = copy.copy(module)
    for name, value in vars(module).items():
        if isinstance(value, torch.Tensor):
            setattr(double, name, value.double())
        elif type(value).__module__.startswith("syncwatch_scenarios") and callable(value):
            setattr(double, name, in_double(value))
    return double
