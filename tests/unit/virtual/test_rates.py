"""The virtual clock's rates for kernels and copies: plausible, sourced, and read from a checked file."""

from __future__ import annotations

import json
from importlib import resources

import pytest

from syncwatch.sense.virtual.clock.rates import SCHEMA, h200, parse


def test_a_small_kernel_takes_the_shortest_time_and_a_big_one_its_bytes() -> None:
    rates = h200()

    assert rates.kernel_ns(64) == rates.min_kernel_ns
    assert rates.kernel_ns(43 << 30) == (43 << 30) * 1000 // rates.hbm_bytes_per_us


def test_half_precision_computes_faster_than_single() -> None:
    rates = h200()
    flops = 10**13

    assert rates.kernel_ns(0, flops, 2) < rates.kernel_ns(0, flops, 4)


def test_an_item_on_an_idle_stream_takes_about_what_was_measured() -> None:
    rates = h200()

    total = rates.copy_launch_ns + rates.copy_ns(4, pinned=True) + rates.sync_return_ns
    assert total == pytest.approx(8_000, rel=0.3)


def test_pinned_memory_copies_faster() -> None:
    assert h200().copy_ns(1 << 20, pinned=True) < h200().copy_ns(1 << 20, pinned=False)


def test_every_shipped_rate_states_its_source() -> None:
    text = resources.files("syncwatch.sense.virtual.clock").joinpath("rates_h200.json").read_text(encoding="utf-8")

    for name, (_, source) in json.loads(text)["rates"].items():
        assert source.split(":")[0] in ("measured", "derived", "assumed") or source.startswith("assumed"), name


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ({"schema": "other/1", "rates": {}}, "not a"),
        ({"schema": SCHEMA, "rates": {}}, "missing"),
        ({"schema": SCHEMA, "rates": {"kernel_launch_ns": [-1, "x"]}}, "positive integer"),
        ({"schema": SCHEMA, "rates": {"kernel_launch_ns": [1.5, "x"]}}, "positive integer"),
    ],
)
def test_a_wrong_file_is_refused(document: object, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse(json.dumps(document))
