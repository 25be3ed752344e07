"""`syncwatch run gdn-prefill` without a GPU: regimes, fixed lengths, pageable metadata, one wait a GDN layer of 60."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.helpers.command import syncwatch

SMALL = ("--steps", "1", "--warmup", "0", "--layers", "1", "--lengths", "2x5,9")


def run(path: Path, *more: str) -> dict[str, Any]:
    ended = syncwatch("run", "gdn-prefill", "--device", "virtual", "-o", str(path), *more)
    assert ended.code == 0, ended.err
    report: dict[str, Any] = json.loads(path.read_text())
    return report


def test_pageable_metadata_of_this_size_does_not_hold_the_host(tmp_path: Path) -> None:
    variants = ("naive", "precomputed-pageable", "precomputed")

    report = run(tmp_path / "run.json", *SMALL, *(word for name in variants for word in ("--variant", name)))

    syncs = {each["name"]: (each["per_step"]["syncs"], each["per_step"]["d2h_copies"]) for each in report["variants"]}
    assert syncs == {"naive": (1, 1), "precomputed-pageable": (0, 0), "precomputed": (0, 0)}
    sent = [(each["per_step"]["h2d_copies"], each["per_step"]["h2d_bytes"]) for each in report["variants"]]
    assert len(set(sent)) == 1
    assert report["comparison"]["outputs_equal"]


def test_the_work_of_a_regime_is_in_the_report_and_in_the_modelled_time(tmp_path: Path) -> None:
    plain = run(tmp_path / "plain.json", *SMALL, "--variant", "precomputed")
    report = run(tmp_path / "run.json", *SMALL, "--variant", "precomputed", "--regime", "balanced")

    assert (plain["parameters"]["regime"], report["parameters"]["regime"]) == ("none", "balanced")
    assert report["parameters"]["host work"].startswith("1 ms a step besides launching")
    assert report["parameters"]["sequences a step"] == "3 of 5 to 9"
    times = [each["variants"][0]["step_ms"] for each in (plain, report)]
    # The kernels of `tiny` are shorter than their launches, so the whole host work lengthens the step.
    assert 0.5 < times[1]["median"] - times[0]["median"] < 1.5
    assert all(time["modelled"] for time in times)


def test_without_its_cache_each_of_45_gdn_layers_reads_back(tmp_path: Path) -> None:
    tiny = ("--layers", "60", "--lengths", "1x2", "--steps", "1", "--warmup", "0", "--cache-miss")

    report = run(tmp_path / "run.json", *tiny, "--variant", "naive")

    (naive,) = report["variants"]
    assert report["parameters"]["layers"] == "45 GDN, 15 in place of attention"
    assert (naive["per_step"]["syncs"], naive["per_step"]["d2h_copies"]) == (45.0, 45.0)
    assert [site["calls_per_step"] for site in naive["sites"]] == [45.0]
