"""`syncwatch run spec-decode` without a GPU: the counts for each class of step, the lines, and both variants."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

import syncwatch
from tests.helpers.command import ROOT
from tests.helpers.command import syncwatch as command
from tests.helpers.waits import sites_that_wait, waits_of

MASKS = {
    "token_mask = torch.repeat_interleave(common.speculative, lengths, output_size=output_size)": 2,
    "slots=block_table[mask],": 1,
    "cu_seqlens=_prefix_sum(lengths[mask]),": 1,
    "num_accepted=common.num_accepted[mask],": 1,
    "carried=carried[~mask],": 1,
    "cu_seqlens=_prefix_sum(lengths[~mask]),": 1,
    "goes_on=common.goes_on[~mask],": 1,
}
"""Waits of one metadata builder in a mixed step, by line."""
GROUPS = 3


@pytest.mark.parametrize(("variant", "mixed", "speculative"), [("naive", 24, 6), ("precomputed", 0, 0)])
def test_waits_of_each_class_of_step(variant: str, mixed: int, speculative: int) -> None:
    from syncwatch_scenarios.spec_decode import SCENARIO, SpecDecodeOptions

    with syncwatch.watch(device="virtual"):
        workload = SCENARIO.build(SpecDecodeOptions("tiny"), torch.device("cuda"))
        with syncwatch.watch(device="virtual") as watch:
            for index in range(4):
                with syncwatch.step():
                    workload.step(variant, index)
        kinds: list[str] = [kind.value for kind in workload._loops[variant].transcript.kinds]  # type: ignore[attr-defined]

    waits = Counter(sync.step for sync in waits_of(watch.session.recordings[0]) if not sync.explicit)
    is_explicit = Counter(sync.step for sync in waits_of(watch.session.recordings[0]) if sync.explicit)
    assert kinds == ["prefill", "mixed", "pure speculative", "mixed"]
    assert [waits[index] for index in range(4)] == [0, mixed, speculative, mixed]
    # The results of a step are waited for two steps later.
    assert [is_explicit[index] for index in range(4)] == [0, 0, 1, 1]


def test_the_lines_and_the_comparison(tmp_path: Path) -> None:
    path = tmp_path / "run.json"

    ended = command("run", "spec-decode", "--device", "virtual", "-o", str(path))

    assert ended.code == 0, ended.err
    report: dict[str, Any] = json.loads(path.read_text())
    naive, precomputed = report["variants"]
    found: Counter[str] = Counter()
    for site in sites_that_wait(naive["sites"]):
        line = (ROOT / site["file"]).read_text().splitlines()[site["line"] - 1].strip()
        assert line == site["source"]
        if not site["explicit"]:
            assert site["file"].endswith("spec_decode/metadata.py")
            found[line] += site["calls"]
    # The three steps are mixed, speculative and mixed.
    expected = {line: 2 * GROUPS * calls for line, calls in MASKS.items()}
    for line in ("slots=block_table[mask],", "num_accepted=common.num_accepted[mask],"):
        expected[line] += GROUPS
    assert dict(found) == expected
    assert [site["source"] for site in sites_that_wait(precomputed["sites"])] == ["flight.ready.synchronize()"]
    assert all(site["explicit"] for site in sites_that_wait(precomputed["sites"]))
    # One copy a step takes the results to the host, on a stream of its own; each wait of naive reads a size.
    assert precomputed["per_step"]["d2h_copies"] == 1
    assert naive["per_step"]["d2h_copies"] == 1 + sum(expected.values()) / 3
    comparison = report["comparison"]
    assert (comparison["outputs_equal"], comparison["modelled"]) == (True, True)
    assert comparison["step_time_ratio"] > 1
