"""Decides which tokens each serving step computes: continuous batching, one step ahead of the device.

A step is scheduled while the one before it still runs, as vLLM's asynchronous scheduling does it. How many drafts that
step accepts is not known by then, so a request counts as having at least one new token of each step in flight. Nothing
here reads a clock: the same results, told in the same order, give the same schedule.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from itertools import accumulate

_LONGEST = 8
"""Lengths are cut at this many times their mean, which takes 0.03 % of them."""


class StepKind(str, Enum):
    """What the rows of a step are, as the metadata builder tells them apart."""

    PREFILL = "prefill"
    """Prompts; decode rows without drafts beside them count as prompts."""
    DECODE = "decode"
    """Rows of one token, and no drafts."""
    SPECULATIVE = "pure speculative"
    """Rows with drafts alone."""
    MIXED = "mixed"
    """Rows with drafts, and others."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks for."""

    number: int
    prompt_tokens: int
    output_tokens: int
    """Tokens after which it is done."""


@dataclass(frozen=True, slots=True)
class Row:
    """The part of one request in one step."""

    request: Request
    seat: int
    """The request's place in the tables on the device, from 1."""
    tokens: int
    prompt_start: int | None
    """First prompt token of this step; None on a decode row."""
    samples: bool
    """Whether the last token gives an output: on decode rows and at the end of a prompt."""

    @property
    def drafts(self) -> int:
        """Draft tokens to be verified."""
        return self.tokens - 1 if self.prompt_start is None else 0


@dataclass(frozen=True)
class ScheduledStep:
    """The rows of one step, in the order in which the requests came. Without slots, which leave nothing to cache in."""

    rows: tuple[Row, ...]
    padding: int
    """Rows of no tokens at the end, which bring the batch to a size that a captured graph would have."""

    @property
    def tokens(self) -> int:
        """Tokens of all rows."""
        return self.starts[-1]

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """The first token of each row, and the end."""
        return (0, *accumulate(row.tokens for row in self.rows))

    @cached_property
    def drafts(self) -> tuple[int, ...]:
        """The draft tokens of each row."""
        return tuple(row.drafts for row in self.rows)

    @cached_property
    def prefill_starts(self) -> tuple[int, ...]:
        """As `starts`, over the rows without drafts alone."""
        return (0, *accumulate(row.tokens for row, drafts in zip(self.rows, self.drafts, strict=True) if not drafts))

    @cached_property
    def kind(self) -> StepKind:
        """The class of the step."""
        return _kind(self.rows)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a step may hold."""

    seats: int
    """Requests that run at once."""
    tokens: int
    """Tokens of a step."""
    drafts: int
    """Draft tokens of a row."""
    row_multiple: int
    """Batches of decode rows alone are padded to a multiple of this."""


@dataclass(frozen=True, slots=True)
class Emission:
    """The new tokens that the result of a step brings one request."""

    request: Request
    tokens: int
    last: bool
    """Whether the request is done with these."""


@dataclass(slots=True)
class _Running:
    request: Request
    seat: int
    prompt_scheduled: int = 0
    known_outputs: int = 0
    in_flight: int = 0
    """Steps whose result will bring at least one output."""


@dataclass(slots=True)
class Scheduler:
    """Decides each step from the results that are known.

    Args:
        limits: how much a step may hold.
        requests: all requests, in the order of their arrival; all are there from the start.
    """

    limits: Limits
    requests: Iterator[Request]
    _running: dict[int, _Running] = field(default_factory=dict)
    _free: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self._free = list(range(self.limits.seats, 0, -1))

    def schedule(self) -> ScheduledStep | None:
        """Return the next step, or None where no request can go on before a result is known."""
        budget = self.limits.tokens
        rows: list[Row] = []
        for running in self._running.values():
            row = self._next_row(running, budget)
            if row is not None:
                rows.append(row)
                budget -= row.tokens
        while budget and self._free and (request := next(self.requests, None)) is not None:
            running = self._running[request.number] = _Running(request, self._free.pop())
            rows.append(_prompt_row(running, budget))
            budget -= rows[-1].tokens
        if not rows:
            return None
        only_decodes = _kind(rows) in (StepKind.SPECULATIVE, StepKind.DECODE)
        return ScheduledStep(tuple(rows), -len(rows) % self.limits.row_multiple if only_decodes else 0)

    def accept(self, step: ScheduledStep, accepted: Sequence[int]) -> list[Emission]:
        """Take in the result of `step` and return what each request got by it.

        Rows of a request that was done already are dropped: they were scheduled before its end was known.

        Args:
            step: the oldest step whose result was not told yet.
            accepted: for each row, the tokens that stand, the first included; 1 on a prompt row.
        """
        emitted = []
        for row, count in zip(step.rows, accepted, strict=True):
            running = self._running.get(row.request.number)
            if running is None or not row.samples:
                continue
            tokens = min(count, row.request.output_tokens - running.known_outputs)
            running.in_flight -= 1
            running.known_outputs += tokens
            done = running.known_outputs == row.request.output_tokens
            emitted.append(Emission(row.request, tokens, done))
            if done:
                del self._running[row.request.number]
                self._free.append(row.seat)
        return emitted

    def _next_row(self, running: _Running, budget: int) -> Row | None:
        if not budget:
            return None
        if running.prompt_scheduled < running.request.prompt_tokens:
            return _prompt_row(running, budget)
        # Every step in flight brings one token at least. Drafts past the end are surely useless, and so is a whole row.
        left = running.request.output_tokens - running.known_outputs - running.in_flight
        if left <= 0:
            return None
        running.in_flight += 1
        tokens = min(1 + self.limits.drafts, left, budget)
        return Row(running.request, running.seat, tokens, prompt_start=None, samples=True)


def _prompt_row(running: _Running, budget: int) -> Row:
    start = running.prompt_scheduled
    tokens = min(running.request.prompt_tokens - start, budget)
    running.prompt_scheduled += tokens
    samples = running.prompt_scheduled == running.request.prompt_tokens
    running.in_flight += samples
    return Row(running.request, running.seat, tokens, prompt_start=start, samples=samples)


def _kind(rows: Sequence[Row]) -> StepKind:
    with_drafts = sum(row.drafts > 0 for row in rows)
    if with_drafts == len(rows):
        return StepKind.SPECULATIVE
    if with_drafts:
        return StepKind.MIXED
    return StepKind.DECODE if all(row.prompt_start is None for row in rows) else StepKind.PREFILL


@dataclass(frozen=True, slots=True)
class Load:
    """How long prompts and outputs are; all requests are there from the start, as at an infinite request rate."""

    prompt_mean: int
    output_mean: int
    requests: int | None = None
    """None: without end."""


def draw_requests(load: Load, seed: int) -> Iterator[Request]:
    """Yield the requests; lengths are exponential, which is about as uneven as those of chat traces."""
    for number in itertools.count() if load.requests is None else range(load.requests):
        generator = random.Random(f"{seed}, request {number}")
        yield Request(number, _length(generator, load.prompt_mean), _length(generator, load.output_mean))


def _length(generator: random.Random, mean: int) -> int:
    return min(1 + int(generator.expovariate(1 / max(mean - 0.5, 0.5))), _LONGEST * mean)
