"""`syncwatch run gdn-prefill` without a GPU: the counts, the lines, and both variants side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.command import ROOT, syncwatch


def run(path: Path, *more: str) -> tuple[dict[str, Any], str]:
    ended = syncwatch(
        *("run", "gdn-prefill", "--device", "virtual", "--steps", "2", "--warmup", "0", "-o", str(path), *more)
    )
    assert ended.code == 0, ended.err
    report: dict[str, Any] = json.loads(path.read_text())
    return report, ended.out


def test_naive_reads_back_once_a_step_and_precomputed_never(tmp_path: Path) -> None:
    report, shown = run(tmp_path / "run.json")

    naive, precomputed = report["variants"]
    (site,) = naive["sites"]
    line = (ROOT / site["file"]).read_text().splitlines()[site["line"] - 1]
    assert ".tolist()" in line
    assert (site["code"], site["calls_per_step"]) == ("SW102", 1.0)
    assert (naive["per_step"]["syncs"], naive["per_step"]["d2h_copies"]) == (1.0, 1.0)
    assert (precomputed["sites"], precomputed["per_step"]["syncs"]) == ([], 0.0)
    assert precomputed["per_step"]["d2h_copies"] == 0.0
    assert naive["pacing_waits"] == precomputed["pacing_waits"]
    comparison = report["comparison"]
    assert (comparison["outputs_equal"], comparison["modelled"]) == (True, True)
    assert comparison["step_time_ratio"] > 1
    assert f"{site['file']}:{site['line']}" in shown and "modelled" in shown


@pytest.mark.parametrize("layers", [1, 2])
def test_without_its_cache_naive_reads_back_once_a_layer(tmp_path: Path, layers: int) -> None:
    report, _ = run(tmp_path / "run.json", "--cache-miss", "--layers", str(layers), "--variant", "naive")

    (naive,) = report["variants"]
    assert (naive["per_step"]["syncs"], report["comparison"]) == (float(layers), None)
