"""Throughput and latencies of a trace, against figures worked out by hand."""

from __future__ import annotations

import pytest
from syncwatch_scenarios.serving.metrics import Delivery, Served, served_requests, serving_figures

TRACE = [
    Delivery(0, 1, 100.0, last=False),
    Delivery(1, 1, 100.0, last=True),
    Delivery(0, 2, 150.0, last=False),
    Delivery(2, 1, 300.0, last=False),
    Delivery(0, 2, 400.0, last=True),
    Delivery(2, 3, 500.0, last=False),
]


def test_requests_are_put_together_from_their_deliveries() -> None:
    requests = served_requests(TRACE)

    assert requests == {
        0: Served(5, 100.0, 400.0, done=True),
        1: Served(1, 100.0, 100.0, done=True),
        2: Served(4, 300.0, 500.0, done=False),
    }
    assert requests[0].per_token_ms == pytest.approx(300 / 4)
    assert requests[1].per_token_ms is None


def test_figures() -> None:
    figures = serving_figures(TRACE)

    assert figures["requests_per_s"] == pytest.approx(2 / 0.5)
    assert figures["tokens_per_s"] == pytest.approx(10 / 0.5)
    assert figures["ttft_ms_mean"] == pytest.approx(500 / 3)
    assert figures["ttft_ms_p50"] == pytest.approx(100)
    assert figures["ttft_ms_p99"] == pytest.approx(100 + 0.98 * 200)
    # Of requests that are done and have a second token: request 2 is not done, and request 1 has no second token.
    assert figures["tpot_ms_mean"] == figures["tpot_ms_p50"] == figures["tpot_ms_p99"] == pytest.approx(75)


def test_what_was_not_measured_is_none() -> None:
    assert set(serving_figures([]).values()) == {None}
    begun = serving_figures([Delivery(0, 1, 10.0, last=False)])
    assert begun["tokens_per_s"] == pytest.approx(100)
    assert begun["requests_per_s"] is begun["tpot_ms_mean"] is None
    assert begun["ttft_ms_mean"] == 10.0
