"""The serving loop: each request gets what it would get alone, whatever it shares a batch with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import pytest
import torch
from syncwatch_scenarios.serving.scheduler import Request, Row, ScheduledStep, Scheduler, StepKind, draw_requests
from syncwatch_scenarios.spec_decode import SCENARIO, SpecDecodeOptions
from syncwatch_scenarios.spec_decode import metadata as spec_decode_metadata
from syncwatch_scenarios.spec_decode import model as spec_decode_layers
from syncwatch_scenarios.spec_decode.metadata import CommonMetadata, build_gdn_metadata
from syncwatch_scenarios.spec_decode.model import SpecDecodeModel, TokenInputs
from syncwatch_scenarios.spec_decode.presets import PRESETS, ServingShape

import syncwatch
from syncwatch.bench import Scenario
from syncwatch.errors import UsageError
from tests.helpers.spec_decode_fixtures import CUDA, Run, hidden_error, serve, small_shape, state_error

TOLERANCE = 3
"""Largest error, in units of what rounding the embedding to bfloat16 does; 1.5 is usual."""
scenario: Scenario = SCENARIO


@pytest.fixture(autouse=True)
def virtual_device() -> Iterator[None]:
    with syncwatch.watch(device="virtual"):
        yield


@pytest.fixture
def drafts_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each request have drafts in every second decode step, neighbours not in the same one."""
    plain, turns = Scheduler._next_row, dict[int, int]()

    def next_row(scheduler: Scheduler, running: Any, budget: int) -> Row | None:
        row = plain(scheduler, running, budget)
        if row is None or row.prompt_start is not None:
            return row
        number = row.request.number
        turns[number] = turns.get(number, number) + 1
        return row if turns[number] % 2 else replace(row, tokens=1)

    monkeypatch.setattr(Scheduler, "_next_row", next_row)


def model_with(shape: ServingShape, uniform: float | None) -> SpecDecodeModel:
    """Return a model that accepts every draft (0), none (1) or as it comes (None)."""
    torch.manual_seed(0)
    model = SpecDecodeModel(shape, CUDA)
    if uniform is not None:
        model.noise.uniforms.fill_(uniform)
    return model


def served(
    *requests: Request, seats: int = 2, steps: int | None = None, uniform: float | None = None, on_device: bool = False
) -> Run:
    shape = small_shape(seats=seats, tokens=32)
    return serve(shape, requests, steps=steps, masks_on_device=on_device, model=model_with(shape, uniform))


def kinds(run: Run) -> list[StepKind]:
    return [output.step.kind for output in run.outputs]


def test_each_request_is_served_as_if_alone() -> None:
    shape = PRESETS["tiny"]

    run = serve(shape, islice(draw_requests(shape.load, 0), 6))

    assert {StepKind.PREFILL, StepKind.MIXED, StepKind.SPECULATIVE} <= set(kinds(run))
    assert any(output.step.padding for output in run.outputs)
    assert run.loop.transcript.tokens.keys() == set(range(6))
    assert 0 < run.loop.transcript.accepted < run.loop.transcript.drafted
    assert hidden_error(run) < TOLERANCE


def test_a_row_without_drafts_before_rows_with_some() -> None:
    # vLLM #51812: the gates of the rows with drafts were taken from the front of the batch.
    run = served(Request(0, 5, 2), Request(1, 6, 8))

    assert [row.drafts for row in run.outputs[1].step.rows] == [0, 2]
    assert hidden_error(run) < TOLERANCE


@pytest.mark.parametrize("uniform", [0.0, None], ids=["all accepted", "as it comes"])
def test_with_drafts_then_without_then_with(uniform: float | None, drafts_in_turn: None) -> None:
    # vLLM #40738: a step without drafts read the state from before the drafts that stood.
    run = served(Request(0, 4, 90), Request(1, 5, 90), uniform=uniform, steps=6)

    assert kinds(run)[1:] == [StepKind.MIXED] * 5
    assert [output.step.rows[0].drafts > 0 for output in run.outputs[1:5]] == [True, False, True, False]
    assert hidden_error(run) < TOLERANCE
    assert state_error(run) < TOLERANCE


def gates_of_the_first_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    def at(inputs: TokenInputs, index: torch.Tensor) -> TokenInputs:
        return TokenInputs(inputs.mixed[index], inputs.g[: len(index)], inputs.beta[: len(index)])

    monkeypatch.setattr(spec_decode_layers.TokenInputs, "at", at)


def carried_from(column: int) -> Callable[[pytest.MonkeyPatch], None]:
    def break_it(monkeypatch: pytest.MonkeyPatch) -> None:
        right = spec_decode_metadata._carried

        def carried(common: CommonMetadata, block_table: torch.Tensor) -> torch.Tensor:
            result = right(common, block_table).clone()
            result[:, column] = result[:, 0] if column == 1 else 0
            return result

        monkeypatch.setattr(spec_decode_metadata, "_carried", carried)

    return break_it


@pytest.mark.parametrize(
    "break_it",
    [gates_of_the_first_tokens, carried_from(1), carried_from(2)],
    ids=["gates not chosen", "state of the first place", "convolution from the front"],
)
def test_the_mistakes_made_upstream_would_show(
    break_it: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch, drafts_in_turn: None
) -> None:
    break_it(monkeypatch)

    run = served(Request(0, 4, 90), Request(1, 5, 90), uniform=0.0, steps=6)

    assert hidden_error(run) > 2 * TOLERANCE


@pytest.mark.parametrize("uniform", [1.0, 0.0, None], ids=["all rejected", "all accepted", "as it comes"])
def test_the_state_is_that_of_the_tokens_that_stand(uniform: float | None) -> None:
    run = served(Request(0, 4, 90), Request(1, 7, 90), steps=5, uniform=uniform)

    counts = {count for output in run.outputs[1:] for count in output.emitted[:, 0].tolist()}
    assert counts == {1.0: {1}, 0.0: {3}}.get(uniform, counts) if uniform is not None else len(counts) > 1
    assert kinds(run)[1:] == [StepKind.SPECULATIVE] * 4
    assert all(output.step.padding == 2 for output in run.outputs[1:])
    assert state_error(run) < TOLERANCE
    assert hidden_error(run) < TOLERANCE


def test_a_seat_that_is_taken_again_brings_nothing_of_its_last_owner() -> None:
    # Prompts of one token: vLLM 0.33 took such a first chunk for a decode step and read the state that was there.
    run = served(Request(0, 1, 1), Request(1, 1, 2), Request(2, 1, 1), Request(3, 1, 3), seats=1)

    assert {row.seat for output in run.outputs for row in output.step.rows} == {1}
    assert hidden_error(run) < TOLERANCE


def test_both_builders_give_the_same_bits() -> None:
    requests = [Request(0, 5, 2), Request(1, 6, 8), Request(2, 3, 4)]

    device, host = (served(*requests, on_device=on_device) for on_device in (True, False))

    assert device.loop.transcript.tokens == host.loop.transcript.tokens
    for mine, theirs in zip(device.outputs, host.outputs, strict=True):
        assert torch.equal(mine.hidden, theirs.hidden)
        assert torch.equal(mine.emitted, theirs.emitted)


@pytest.mark.parametrize("masks_on_device", [True, False])
def test_metadata_of_a_mixed_and_of_a_padded_batch(masks_on_device: bool) -> None:
    drafts, plain, prompt = row(1, 3), row(2, 1), row(3, 5, prompt_start=0)
    accepted, table = [2, 3, 1], [[1, 2, 3], [4, 5, 6], [7, 8, 9]]

    mixed = build_gdn_metadata(
        common([plain, drafts, prompt], accepted), tensor(table), masks_on_device=masks_on_device
    )
    padded = build_gdn_metadata(
        common([drafts], [2], padding=2), tensor([*table[:1], [0] * 3, [0] * 3]), masks_on_device=masks_on_device
    )

    assert mixed.decode is not None and mixed.prefill is not None and mixed.decode.token_index is not None
    assert mixed.decode.token_index.tolist() == [1, 2, 3]
    assert mixed.decode.slots.tolist() == [[4, 5, 6]]
    assert (mixed.decode.cu_seqlens.tolist(), mixed.decode.num_accepted.tolist()) == ([0, 3], [3])
    assert mixed.prefill.token_index is not None
    assert mixed.prefill.token_index.tolist() == [0, 4, 5, 6, 7, 8]
    assert mixed.prefill.write_slots.tolist() == [1, 7]
    assert mixed.prefill.read_slots.tolist() == [2, 7]
    assert mixed.prefill.conv_offset.tolist() == [1, 0]
    assert mixed.prefill.is_new.tolist() == [False, True]
    assert mixed.prefill.cu_seqlens.tolist() == [0, 1, 6]
    assert mixed.prefill.chunk_indices.tolist() == [[0, 0], [1, 0]]
    assert padded.prefill is None and padded.decode is not None
    assert padded.decode.slots.tolist() == [[1, 2, 3]]
    assert (padded.decode.cu_seqlens.tolist(), padded.decode.num_accepted.tolist()) == ([0, 3], [2])


def test_a_batch_without_any_drafts_keeps_the_speculative_form() -> None:
    metadata = build_gdn_metadata(
        common([row(1, 1)], [3], padding=1), tensor([[1, 2, 3], [0, 0, 0]]), masks_on_device=True
    )

    assert metadata.prefill is None and metadata.decode is not None
    assert metadata.decode.slots.tolist() == [[1, 2, 3]]
    assert metadata.decode.num_accepted.tolist() == [3]


@pytest.mark.parametrize(("count", "place", "offset"), [(0, 1, 0), (-7, 1, 0), (4, 3, 2), (2**31 - 1, 3, 2)])
def test_a_count_that_no_step_gave_stays_in_the_window(count: int, place: int, offset: int) -> None:
    # vLLM #50021 read wherever such a count pointed.
    metadata = build_gdn_metadata(
        common([row(1, 1), row(2, 3)], [count, 1]), tensor([[1, 2, 3], [4, 5, 6]]), masks_on_device=False
    )

    assert metadata.prefill is not None
    assert (metadata.prefill.read_slots.tolist(), metadata.prefill.conv_offset.tolist()) == ([place], [offset])


def row(number: int, tokens: int, prompt_start: int | None = None) -> Row:
    return Row(Request(number, 9, 9), number, tokens, prompt_start, samples=True)


def common(rows: list[Row], accepted: list[int], padding: int = 0) -> CommonMetadata:
    step, none = ScheduledStep(tuple(rows), padding), [0] * padding
    speculative = [*(each.drafts > 0 for each in rows), *([False] * padding)]
    return CommonMetadata(
        step,
        cu_seqlens=tensor([*step.starts, *([step.tokens] * padding)]),
        speculative=tensor(speculative).bool(),
        speculative_cpu=torch.tensor(speculative),
        goes_on=tensor([*(each.prompt_start != 0 for each in rows), *none]).bool(),
        num_accepted=tensor([*accepted, *([1] * padding)]),
    )


def tensor(values: Any) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int32).to(CUDA)


def test_a_workload_begins_anew_at_step_0_and_catches_up_elsewhere() -> None:
    workload: Any = scenario.build(SpecDecodeOptions("tiny", batch=2, tokens=16, layers=2), CUDA)

    first = [workload.step("precomputed", index) for index in range(3)]

    assert torch.equal(workload.step("precomputed", 0), first[0])
    assert torch.equal(workload.step("naive", 2), first[2])
    figures = workload.figures("naive")
    assert figures["tokens_per_s"] > 0 and figures["ttft_ms_p50"] > 0
    assert len(workload._loops["naive"].transcript.kinds) == 3
    # To give figures the loop takes in results early, so the next step must start again from the beginning.
    third = workload.step("naive", 3)
    workload.step("precomputed", 1)
    workload.step("precomputed", 2)
    assert torch.equal(third, workload.step("precomputed", 3))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (SpecDecodeOptions("qwen3.5"), "no preset 'qwen3.5'. Did you mean qwen3.5-"),
        (SpecDecodeOptions("gpt"), "Choose from tiny, "),
        (SpecDecodeOptions("tiny", batch=0), "--batch must be from 1 to "),
        (SpecDecodeOptions("tiny", batch=4, tokens=11), "--tokens must be from 12 to 1000000 here, but is 11"),
        (SpecDecodeOptions("tiny", layers=0), "--layers must be from 1 to "),
    ],
)
def test_options_out_of_range_are_refused(options: SpecDecodeOptions, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        scenario.build(options, CUDA)


@pytest.mark.parametrize("name", ["cache_miss", "regime"])
def test_what_means_nothing_here_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"^--{name.replace('_', '-')} means nothing in spec-decode. Leave it out."):
        scenario.read({name: "balanced"}, virtual=True)


def test_presets_and_defaults() -> None:
    assert scenario.read({}, virtual=True).preset == "tiny"
    assert scenario.read({}, virtual=False).preset in PRESETS
    for shape in PRESETS.values():
        assert shape.model.value_heads % shape.model.key_heads == 0
        assert shape.model.tokens >= shape.model.batch * (shape.drafts + 1)
        assert shape.vocabulary < 2**24
