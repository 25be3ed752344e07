"""The load of the scenario: requests that arrive, tokens a step may have, and how often drafts are accepted."""

from __future__ import annotations

from dataclasses import dataclass

BLOCK_TOKENS = 16
"""Tokens of a block of the KV cache; vLLM's default."""
DRAW_ROWS = 1024
"""Rows of the table of random numbers that decide what is accepted."""
DRAW_RANGE = 1000
"""Random numbers lie below this, so that acceptance is in thousandths and host and device decide alike."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the scheduler has to serve."""

    requests: int
    """Requests that run at once, at most."""

    tokens: int
    """Tokens of one step, at most."""

    drafts: int
    """Draft tokens of a decode row (k)."""

    acceptance: int
    """Thousandths of the drafts that are accepted, each after those before it."""

    prompt: tuple[int, int]
    """Shortest and longest prompt, in tokens."""

    output: tuple[int, int]
    """Shortest and longest output, in tokens."""

    arrivals: int
    """Requests that arrive before a step, at most."""

    lead_in: int
    """Steps before the first that is watched: requests of every age are running by then."""

    steps_in_flight: int = 1
    """Steps whose outcome the scheduler does not know yet when it schedules another."""

    @property
    def longest(self) -> int:
        """The longest a sequence can become, with drafts that are still unverified; a multiple of a block."""
        unverified = (2 + self.steps_in_flight) * (1 + self.drafts)
        blocks = -(-(self.prompt[1] + self.output[1] + unverified) // BLOCK_TOKENS)
        return blocks * BLOCK_TOKENS


# Outputs are as long as those of the ShareGPT run that vLLM #38047 quotes (188 tokens on average), prompts longer, so
# that chunked prefills are running beside the decodes in most steps. 70 % acceptance is this project's choice.
_SERVED = Traffic(64, 2048, 3, 700, (64, 2048), (16, 360), arrivals=2, lead_in=200)
_TINY = Traffic(6, 48, 2, 700, (8, 120), (4, 40), arrivals=2, lead_in=24)
TRAFFIC = {"tiny": _TINY, "qwen3.5-2b": _SERVED, "qwen3-next-80b": _SERVED, "qwen3.5-397b": _SERVED}
"""The traffic of each preset; the layers are those of `hybrid_model.sizes.PRESETS`."""
