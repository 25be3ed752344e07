"""Answers: which requests does the serving loop get? Lengths and prompts from the seed alone."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from syncwatch_scenarios.serving.scheduler import Request

_LONGEST = 8
"""Lengths are cut at this many times their mean, which takes 0.03 % of them."""


@dataclass(frozen=True, slots=True)
class Load:
    """How long prompts and outputs are; all requests are there from the start, as at an infinite request rate."""

    prompt_mean: int
    output_mean: int
    requests: int | None = None
    """None: without end."""


def draw_requests(load: Load, seed: int) -> Iterator[Request]:
    """Yield the requests; lengths are exponential, which is about as uneven as those of chat traces."""
    for number in count() if load.requests is None else range(load.requests):
        generator = random.Random(f"{seed}, request {number}")
        yield Request(number, _length(generator, load.prompt_mean), _length(generator, load.output_mean))


def _length(generator: random.Random, mean: int) -> int:
    return min(1 + int(generator.expovariate(1 / max(mean - 0.5, 0.5))), _LONGEST * mean)
