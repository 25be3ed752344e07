"""`syncwatch run seq-lens` without a GPU: one wait a consumer on its own line, none with the bound."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.command import ROOT, syncwatch

CONSUMERS = {
    "input_batch": "planning.py",
    "common_metadata": "planning.py",
    "flex_attention": "planning.py",
    "cross_attention": "planning.py",
    "mla_context": "planning.py",
    "micro_batches": "planning.py",
    "draft_loop": "planning.py",
}


def run(path: Path, *more: str) -> dict[str, Any]:
    ended = syncwatch("run", "seq-lens", "--device", "virtual", "-o", str(path), *more)
    assert ended.code == 0, ended.err
    report: dict[str, Any] = json.loads(path.read_text())
    return report


def test_naive_waits_once_a_consumer_and_precomputed_never(tmp_path: Path) -> None:
    report = run(tmp_path / "run.json", "--steps", "20", "--warmup", "2")

    naive, precomputed = report["variants"]
    assert {site["function"]: Path(site["file"]).name for site in naive["sites"]} == CONSUMERS
    assert {(site["code"], site["calls_per_step"], site["explicit"]) for site in naive["sites"]} == {
        ("SW104", 1.0, False)
    }
    for site in naive["sites"]:
        line = (ROOT / site["file"]).read_text().splitlines()[site["line"] - 1]
        assert "seq_lens.cpu()" in line
    assert (naive["per_step"]["syncs"], naive["per_step"]["d2h_copies"]) == (7.0, 7.0)
    assert (precomputed["sites"], precomputed["per_step"]["syncs"], precomputed["per_step"]["d2h_copies"]) == ([], 0, 0)
    assert naive["per_step"]["h2d_copies"] == precomputed["per_step"]["h2d_copies"]
    comparison = report["comparison"]
    assert (comparison["candidate"], comparison["outputs_equal"]) == ("precomputed", True)
    assert comparison["step_time_ratio"] > 1


def test_the_bound_that_drifts_runs_only_where_it_is_named(tmp_path: Path) -> None:
    report = run(tmp_path / "run.json", "--variant", "naive", "--variant", "drifting")

    assert [variant["name"] for variant in report["variants"]] == ["naive", "drifting"]
    # Kernels mask with the true lengths: what drifts is how much is planned.
    assert report["comparison"]["outputs_equal"]
    assert report["variants"][1]["per_step"]["syncs"] == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--cache-miss",), "--cache-miss means nothing in seq-lens. Leave it out."),
        (("--lengths", "8x8"), "--lengths means nothing in seq-lens."),
        (("--preset", "qwen"), "seq-lens has no preset 'qwen'."),
        (("--tokens", "2"), "--tokens must be from 3 to 65536 here, but is 2."),
        (("--variant", "drift"), "Choose from naive, precomputed, drifting."),
    ],
)
def test_what_it_cannot_do_is_refused_in_a_sentence(arguments: tuple[str, ...], sentence: str) -> None:
    ended = syncwatch("run", "seq-lens", "--device", "virtual", *arguments)

    assert ended.code == 2
    assert sentence in ended.err
