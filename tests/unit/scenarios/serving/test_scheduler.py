"""The scheduler of the serving loop: complete, within its limits, and never ahead of what it can know."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field

import pytest
from syncwatch_scenarios.serving.scheduler import (
    Limits,
    Load,
    Request,
    Row,
    ScheduledStep,
    Scheduler,
    StepKind,
    draw_requests,
)
from syncwatch_scenarios.spec_decode.inputs import draw_prompt

LIMITS = Limits(seats=4, tokens=20, drafts=2, row_multiple=4)


@dataclass
class Trace:
    """What a scheduler did with some requests, and what they got."""

    steps: list[ScheduledStep] = field(default_factory=list)
    outputs: dict[int, int] = field(default_factory=dict)
    done: list[int] = field(default_factory=list)


def run(requests: list[Request], limits: Limits = LIMITS, *, acceptance: float = 0.7, in_flight: int = 1) -> Trace:
    """Serve `requests` to the end; the scheduler gets each step's results `in_flight` steps late."""
    scheduler, generator, trace = Scheduler(limits, iter(requests)), random.Random(0), Trace()
    flying: deque[tuple[ScheduledStep, list[int]]] = deque()

    def tell() -> None:
        for emission in scheduler.accept(*flying.popleft()):
            number = emission.request.number
            trace.outputs[number] = trace.outputs.get(number, 0) + emission.tokens
            trace.done += [number] if emission.last else []

    while True:
        while len(flying) > in_flight:
            tell()
        step = scheduler.schedule()
        while step is None and flying:
            tell()
            step = scheduler.schedule()
        if step is None:
            return trace
        trace.steps.append(step)
        flying.append((step, [accepted_of(row, generator, acceptance) for row in step.rows]))


def accepted_of(row: Row, generator: random.Random, acceptance: float) -> int:
    drafts = 0
    while drafts < row.drafts and generator.random() < acceptance:
        drafts += 1
    return drafts + 1


@pytest.mark.parametrize("acceptance", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("in_flight", [0, 1, 2])
def test_every_request_gets_what_it_asked_for(acceptance: float, in_flight: int) -> None:
    requests = list(draw_requests(Load(12, 6, requests=30), seed=3))

    trace = run(requests, acceptance=acceptance, in_flight=in_flight)

    assert trace.outputs == {each.number: each.output_tokens for each in requests}
    assert sorted(trace.done) == list(range(30))
    read: dict[int, int] = {}
    for step in trace.steps:
        assert 0 < step.tokens <= LIMITS.tokens
        seats = [row.seat for row in step.rows]
        assert len(set(seats)) == len(seats) <= LIMITS.seats and min(seats) >= 1 and max(seats) <= LIMITS.seats
        for row in step.rows:
            assert 0 <= row.drafts <= LIMITS.drafts
            if row.prompt_start is not None:
                assert row.prompt_start == read.get(row.request.number, 0)
                read[row.request.number] = row.prompt_start + row.tokens
    assert read == {each.number: each.prompt_tokens for each in requests}


def test_a_row_whose_drafts_cannot_all_be_used_has_fewer_or_none() -> None:
    trace = run([Request(0, 5, 2), Request(1, 6, 9)], acceptance=1.0)

    first, second = trace.steps[:2]
    assert (first.kind, [row.tokens for row in first.rows]) == (StepKind.PREFILL, [5, 6])
    # The prefill in flight brings request 0 its first token for sure: one is left, so that drafts would be wasted.
    assert (second.kind, [row.drafts for row in second.rows]) == (StepKind.MIXED, [0, 2])


def test_what_is_in_flight_is_not_known() -> None:
    # All drafts accepted: 1 + 3 + 3 tokens. The third step is scheduled before the second one's outcome is known.
    trace = run([Request(0, 4, 4)], acceptance=1.0)

    assert [row.tokens for step in trace.steps for row in step.rows] == [4, 3, 2]
    assert trace.outputs == {0: 4}


def test_the_kinds_and_the_padding() -> None:
    prompt = Row(Request(0, 9, 9), 1, 9, prompt_start=0, samples=True)
    plain = Row(Request(1, 9, 9), 2, 1, prompt_start=None, samples=True)
    drafts = Row(Request(2, 9, 9), 3, 3, prompt_start=None, samples=True)
    kinds: dict[StepKind, list[tuple[Row, ...]]] = {
        StepKind.PREFILL: [(prompt,), (prompt, plain)],
        StepKind.DECODE: [(plain,)],
        StepKind.SPECULATIVE: [(drafts,)],
        StepKind.MIXED: [(plain, drafts), (prompt, drafts), (drafts, plain, prompt)],
    }
    for kind, batches in kinds.items():
        for rows in batches:
            assert ScheduledStep(rows, 0).kind is kind

    for step in run(list(draw_requests(Load(12, 6, requests=30), seed=0))).steps:
        alone = step.kind in (StepKind.DECODE, StepKind.SPECULATIVE)
        assert step.padding == (-len(step.rows) % 4 if alone else 0)


def test_the_trace_is_the_seeds_and_as_long_as_it_says() -> None:
    load = Load(225, 188, requests=4000)
    requests = list(draw_requests(load, seed=0))

    assert requests == list(draw_requests(load, seed=0)) != list(draw_requests(load, seed=1))
    assert sum(each.prompt_tokens for each in requests) / 4000 == pytest.approx(225, rel=0.05)
    assert sum(each.output_tokens for each in requests) / 4000 == pytest.approx(188, rel=0.05)
    assert min(min(each.prompt_tokens, each.output_tokens) for each in requests) == 1
    prompt = draw_prompt(requests[0], 50, seed=0)
    assert len(prompt) == requests[0].prompt_tokens and 0 <= prompt.min() <= prompt.max() < 50
    assert prompt.tolist() == draw_prompt(requests[0], 50, seed=0).tolist()
