"""Decides which tokens each step computes, and what the scheduler knows of each request by then.

Continuous batching with chunked prefill, speculative decoding and asynchronous scheduling. A step is scheduled while
others are in flight: the drafts of those count as accepted until their outcome is known. In an engine the outcome
comes with the sampled tokens, which are copied out in every variant alike; that copy is no part of this scenario.
Here the scheduler looks it up in the same table of random numbers that the device decides with.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from syncwatch_scenarios.seq_lens.traffic import BLOCK_TOKENS, DRAW_RANGE, DRAW_ROWS, Traffic

_CACHED_SHARE = 0.25
"""Share of the requests whose prompt begins with something that is cached."""


@dataclass(slots=True)
class Request:
    """One request, as the scheduler knows it."""

    number: int
    slot: int
    prompt: int
    output: int
    """Tokens after which it leaves."""
    computed: int
    """Tokens that are computed, the drafts in flight counted as accepted."""
    generated: int = 0
    """Tokens that are known to be generated."""
    begun: bool = False
    turns: int = 0
    """Decode steps that were scheduled."""


@dataclass(frozen=True, slots=True)
class Row:
    """What one request does in one step."""

    request: Request
    slot: int
    begins: bool
    """Whether this is the first step of the request."""
    computed: int
    """Tokens computed before the step, as far as the scheduler knows: exact on a prefill row."""
    query_len: int
    """Tokens of this step, drafts included."""
    drafts: int
    """Drafts among them; 0 on a prefill row."""
    draw: int
    """Which row of the table of random numbers decides what is accepted."""
    samples: bool
    """Whether the step gives the request a token: on decode rows, and on the last chunk of a prompt."""

    @property
    def is_prefill(self) -> bool:
        """Whether it computes a piece of the prompt."""
        return self.drafts == 0


class Scheduler:
    """Decides what each step computes; the same seed gives the same steps.

    Args:
        traffic: what has to be served; at least one draft.
        accepted: drafts accepted by each row of the table of random numbers, int64 [DRAW_ROWS].
        seed: of arrivals and lengths.
    """

    def __init__(self, traffic: Traffic, accepted: npt.NDArray[np.int64], seed: int) -> None:
        self._traffic = traffic
        self._accepted = accepted
        self._random = random.Random(f"{seed}, arrivals")
        self._running: list[Request] = []
        self._free = list(range(traffic.requests))[::-1]
        self._in_flight: deque[tuple[Row, ...]] = deque()
        self._arrived = 0

    @property
    def running(self) -> tuple[Request, ...]:
        """The requests that are running."""
        return tuple(self._running)

    def schedule(self) -> tuple[Row, ...]:
        """Return the rows of the next step: decodes, then prefills."""
        self.learn(self._traffic.steps_in_flight)
        self._leave()
        self._admit()
        rows = tuple(self._rows())
        self._in_flight.append(rows)
        return rows

    def learn(self, in_flight: int) -> None:
        """Take in the outcome of all but the last `in_flight` steps: rejected drafts are computed no more."""
        while len(self._in_flight) > in_flight:
            for row in self._in_flight.popleft():
                accepted = self.accepted(row)
                row.request.computed -= row.drafts - accepted
                row.request.generated += accepted + 1 if row.samples else 0

    def accepted(self, row: Row) -> int:
        """Return how many drafts of `row` are accepted."""
        return int(self._accepted[row.draw]) if row.drafts else 0

    def _leave(self) -> None:
        for request in self._running:
            if request.generated >= request.output:
                self._free.append(request.slot)
        self._running = [request for request in self._running if request.generated < request.output]

    def _admit(self) -> None:
        arriving = self._random.randint(0, self._traffic.arrivals) if self._running else 1
        for _ in range(min(arriving, len(self._free))):
            prompt = self._random.randint(*self._traffic.prompt)
            output = self._random.randint(*self._traffic.output)
            cached = (prompt - 1) // BLOCK_TOKENS * BLOCK_TOKENS if self._random.random() < _CACHED_SHARE else 0
            self._running.append(Request(self._arrived, self._free.pop(), prompt, output, cached))
            self._arrived += 1

    def _rows(self) -> Iterator[Row]:
        left = self._traffic.tokens
        decodes = [request for request in self._running if request.computed >= request.prompt]
        prefills = [request for request in self._running if request.computed < request.prompt]
        for request in decodes:
            if left >= 1 + self._traffic.drafts:
                left -= 1 + self._traffic.drafts
                yield self._decode(request)
        for request in prefills:
            if left:
                chunk = min(left, request.prompt - request.computed)
                left -= chunk
                yield self._prefill(request, chunk)

    def _decode(self, request: Request) -> Row:
        drafts = self._traffic.drafts
        draw = (request.number * 131 + request.turns) % DRAW_ROWS
        row = Row(request, request.slot, False, request.computed, 1 + drafts, drafts, draw, samples=True)
        request.turns += 1
        request.computed += row.query_len
        return row

    def _prefill(self, request: Request, chunk: int) -> Row:
        last = request.computed + chunk == request.prompt
        row = Row(request, request.slot, not request.begun, request.computed, chunk, 0, 0, samples=last)
        request.begun = True
        request.computed += chunk
        return row


def draw_table(traffic: Traffic, seed: int) -> npt.NDArray[np.int32]:
    """Draw the random numbers of the rejection sampler, int32 [DRAW_ROWS, k], below `DRAW_RANGE`."""
    drawn = np.random.default_rng(seed).integers(0, DRAW_RANGE, (DRAW_ROWS, traffic.drafts))
    return drawn.astype(np.int32)


def accepted_of(table: npt.NDArray[np.int32], acceptance: int) -> npt.NDArray[np.int64]:
    """Return how many drafts each row of `table` accepts, int64 [DRAW_ROWS]: those before the first refused."""
    found: npt.NDArray[np.int64] = (table < acceptance).cumprod(axis=1).sum(axis=1)
    return found
