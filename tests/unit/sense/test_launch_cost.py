"""What watching adds to a launch is a median of rounds, and never less than nothing. No GPU is asked."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
import torch

from syncwatch.errors import NotMeasuredError
from syncwatch.sense.cuda import launch_cost
from syncwatch.sense.cuda.launch_cost import launch_cost_ns


class Subscription:
    """Stands for CUPTI's."""

    def __init__(self, *_: object, records: bool) -> None:
        assert records

    def close(self) -> None:
        pass

    forget = close


@pytest.fixture(autouse=True)
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A GPU in use, on which nothing is launched."""
    monkeypatch.setattr(launch_cost, "devices_in_use", lambda: (0,))
    monkeypatch.setattr(launch_cost, "Cupti", Subscription)
    monkeypatch.setattr(torch.cuda, "device", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(torch, "zeros", lambda *_, **__: torch.ones(1))
    launch_cost_ns.cache_clear()
    yield
    launch_cost_ns.cache_clear()


def launches(monkeypatch: pytest.MonkeyPatch, added: list[int]) -> None:
    """Let each round take 5,000 ns plain and so much more watched."""
    times = iter([0, *(time for each in added for time in (5_000, 5_000 + each))])
    monkeypatch.setattr(launch_cost, "_launches", lambda _: next(times))


@pytest.mark.parametrize(
    ("added", "cost"), [([700, 900, 90_000, 800, -400], 800), ([-50] * 5, 0), ([70_000] * 5, 2_000)]
)
def test_it_is_the_median_within_limits(monkeypatch: pytest.MonkeyPatch, added: list[int], cost: int) -> None:
    launches(monkeypatch, added)

    assert launch_cost_ns() == cost


def test_where_cupti_is_taken_or_no_gpu_is_in_use_it_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def taken(*_: object, **__: object) -> None:
        raise NotMeasuredError("CUPTI has a subscriber already.")

    launches(monkeypatch, [700] * 5)
    monkeypatch.setattr(launch_cost, "Cupti", taken)
    when_taken = launch_cost_ns()
    launch_cost_ns.cache_clear()
    monkeypatch.setattr(launch_cost, "devices_in_use", lambda: ())

    assert (when_taken, launch_cost_ns()) == (0, 0)
