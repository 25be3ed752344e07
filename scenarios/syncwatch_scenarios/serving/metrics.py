"""How well a trace was served: throughput, time to first token, and time per output token."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

Figures = Mapping[str, float | None]
"""Name to value; None where nothing was there to measure."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """Tokens of one request that reached the host together."""

    request: int
    tokens: int
    moment_ms: float
    """Milliseconds since the trace began."""
    last: bool
    """Whether the request is done with these."""


@dataclass(frozen=True, slots=True)
class Served:
    """One request, from its arrival to its last token so far."""

    tokens: int
    first_ms: float
    """From its arrival to its first token."""
    last_ms: float
    """From its arrival to its last token."""
    done: bool

    @property
    def per_token_ms(self) -> float | None:
        """Time per output token after the first; None where there is only one."""
        return (self.last_ms - self.first_ms) / (self.tokens - 1) if self.tokens > 1 else None


def served_requests(deliveries: Iterable[Delivery]) -> dict[int, Served]:
    """Return each request that got a token, by number. All requests arrived as the trace began.

    Args:
        deliveries: in the order of their moments.
    """
    requests: dict[int, Served] = {}
    for each in deliveries:
        before = requests.get(each.request)
        requests[each.request] = Served(
            tokens=each.tokens + (0 if before is None else before.tokens),
            first_ms=each.moment_ms if before is None else before.first_ms,
            last_ms=each.moment_ms,
            done=each.last,
        )
    return requests


def serving_figures(deliveries: Iterable[Delivery]) -> dict[str, float | None]:
    """Return throughput and latencies of a trace, or of the part of it that was run.

    Throughput is over the time from the start to the last delivery. Time to first token counts every request that got
    one, time per output token only requests that are done, each as (last - first) / (tokens - 1), which is how vLLM's
    serving benchmark defines it.

    Returns:
        requests_per_s, tokens_per_s, and {ttft_ms, tpot_ms}_{mean, p50, p99}.
    """
    requests = list(served_requests(deliveries).values())
    end_s = max((each.last_ms for each in requests), default=0.0) / 1e3
    done = [each for each in requests if each.done]
    per_token = [time for each in done if (time := each.per_token_ms) is not None]
    return {
        "requests_per_s": len(done) / end_s if done and end_s > 0 else None,
        "tokens_per_s": sum(each.tokens for each in requests) / end_s if end_s > 0 else None,
        **_spread("ttft_ms", [each.first_ms for each in requests]),
        **_spread("tpot_ms", per_token),
    }


def _spread(name: str, values: list[float]) -> dict[str, float | None]:
    """Return mean, median and 99th percentile, the last two by linear interpolation."""
    if not values:
        return {f"{name}_mean": None, f"{name}_p50": None, f"{name}_p99": None}
    p50, p99 = np.percentile(values, (50, 99))
    return {f"{name}_mean": float(np.mean(values)), f"{name}_p50": float(p50), f"{name}_p99": float(p99)}
