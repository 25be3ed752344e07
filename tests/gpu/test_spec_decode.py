"""The serving loop on a GPU: each request's result as if served alone, the same in both variants, and its waits."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import pytest
import torch
from syncwatch_scenarios.serving.scheduler import Load, Request, StepKind, draw_requests
from syncwatch_scenarios.spec_decode.model import SpecDecodeModel
from syncwatch_scenarios.spec_decode.presets import PRESETS, ServingShape
from syncwatch_scenarios.spec_decode.serving_loop import ServingLoop

from tests.helpers.spec_decode_fixtures import CUDA, SEED, hidden_error, serve, small_shape, state_error

pytestmark = pytest.mark.gpu

TOLERANCE = 3
"""Largest error, in units of what rounding the embedding to bfloat16 does."""
WAITS = {StepKind.MIXED: 24, StepKind.SPECULATIVE: 6, StepKind.PREFILL: 0, StepKind.DECODE: 0}


@pytest.fixture
def default_sync_mode() -> Iterator[None]:
    yield
    torch.cuda.set_sync_debug_mode("default")


def real_heads() -> ServingShape:
    """Return five layers with heads of 128, small enough for a float64 reference by the token."""
    shape = PRESETS["qwen3.5-2b"]
    model = replace(shape.model, layers=5, hidden=512, key_heads=2, value_heads=4, feedforward=512, tokens=256, batch=8)
    return replace(shape, model=model, vocabulary=1024, drafts=2, load=Load(60, 8))


@pytest.mark.parametrize("shape", [PRESETS["tiny"], real_heads()], ids=["tiny", "heads of 128"])
def test_each_request_is_served_as_if_alone(shape: ServingShape) -> None:
    run = serve(shape, islice(draw_requests(shape.load, 0), 10))

    assert {StepKind.MIXED, StepKind.SPECULATIVE} <= {output.step.kind for output in run.outputs}
    assert run.loop.transcript.tokens.keys() == set(range(10))
    assert hidden_error(run) < TOLERANCE


def test_a_row_without_drafts_before_rows_with_some_and_the_states() -> None:
    run = serve(small_shape(seats=2, tokens=256), [Request(0, 120, 2), Request(1, 64, 90)], steps=6)

    assert [row.drafts for row in run.outputs[1].step.rows] == [0, 2]
    assert hidden_error(run) < TOLERANCE
    assert state_error(run) < TOLERANCE


def test_a_whole_trace_gives_the_same_bits_either_way() -> None:
    shape = real_heads()
    requests = list(islice(draw_requests(shape.load, 1), 40))

    device, host = (serve(shape, requests, masks_on_device=on_device) for on_device in (True, False))

    assert device.loop.transcript.tokens == host.loop.transcript.tokens
    for mine, theirs in zip(device.outputs, host.outputs, strict=True):
        assert torch.equal(mine.hidden, theirs.hidden)


@pytest.mark.parametrize("masks_on_device", [True, False])
def test_waits_of_each_class_of_step(masks_on_device: bool, default_sync_mode: None) -> None:
    torch.manual_seed(SEED)
    shape = real_heads()
    model = SpecDecodeModel(shape, CUDA)
    serve(shape, islice(draw_requests(shape.load, 0), 10), model=model, masks_on_device=masks_on_device)
    requests = islice(draw_requests(shape.load, 0), 10)
    loop = ServingLoop(model, shape, requests, SEED, masks_on_device=masks_on_device)
    torch.cuda.set_sync_debug_mode("warn")

    kinds = set()
    while True:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            output = loop.step()
        if output is None:
            break
        kind = output.step.kind
        kinds.add(kind)
        waits = [each for each in caught if "synchronizing CUDA operation" in str(each.message)]
        assert len(waits) == (WAITS[kind] if masks_on_device else 0)

    assert {StepKind.MIXED, StepKind.SPECULATIVE, StepKind.PREFILL} <= kinds
