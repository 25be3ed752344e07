"""seq-lens on a real GPU: the waits and copies that the virtual device predicts, and the true lengths on the device."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from syncwatch_scenarios.seq_lens.async_scheduler import draw_table
from syncwatch_scenarios.seq_lens.batch import SlotStates
from syncwatch_scenarios.seq_lens.serving_steps import HostLengths, Serving

from tests.helpers.command import ROOT
from tests.helpers.command import syncwatch as command
from tests.helpers.seq_lens_truth import SMALL, scheduler_of, steps

pytestmark = pytest.mark.gpu


def run(folder: Path, device: str, *more: str) -> dict[str, Any]:
    path = folder / f"{device}.json"
    arguments = ("seq-lens", "--preset", "tiny", "--steps", "10", "--warmup", "2", *more)
    ended = command("run", *arguments, "--device", device, "-o", str(path), cwd=ROOT)
    assert ended.code == 0, ended.err
    report: dict[str, Any] = json.loads(path.read_text())
    return report


def sites(variant: dict[str, Any]) -> list[tuple[str, int, str, int]]:
    return sorted((each["file"], each["line"], each["code"], each["calls"]) for each in variant["sites"])


@pytest.mark.parametrize("candidate", ["precomputed", "drifting"])
def test_it_waits_at_the_same_lines_on_both_devices(tmp_path: Path, candidate: str) -> None:
    variants = ("--variant", "naive", "--variant", candidate)

    cuda, virtual = run(tmp_path, "cuda", *variants), run(tmp_path, "virtual", *variants)

    for measured, modelled in zip(cuda["variants"], virtual["variants"], strict=True):
        assert sites(measured) == sites(modelled)
        for figure in ("syncs", "d2h_copies", "d2h_bytes", "h2d_copies", "h2d_bytes"):
            assert measured["per_step"][figure] == modelled["per_step"][figure], figure
    naive, bounded = cuda["variants"]
    assert (naive["per_step"]["syncs"], naive["per_step"]["d2h_copies"], len(naive["sites"])) == (7, 7, 7)
    assert (bounded["per_step"]["syncs"], bounded["per_step"]["d2h_copies"]) == (0, 0)
    assert cuda["comparison"]["outputs_equal"] and virtual["comparison"]["outputs_equal"]


def test_outputs_are_equal_at_served_shapes(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    preset = ("--preset", "qwen3.5-2b", "--layers", "4", "--steps", "5", "--warmup", "1")

    ended = command("run", "seq-lens", "--device", "cuda", *preset, "-o", str(path), cwd=ROOT)

    assert ended.code == 0, ended.err
    report = json.loads(path.read_text())
    assert report["comparison"]["outputs_equal"]
    assert [variant["per_step"]["syncs"] for variant in report["variants"]] == [7, 0]


def test_the_lengths_that_the_gpu_decides_are_the_true_ones() -> None:
    device = torch.device("cuda")
    draws = torch.from_numpy(draw_table(SMALL, 0))
    states = SlotStates.create(SMALL.requests, SMALL.longest, draws, device)
    serving = Serving(SMALL, 0, states, HostLengths(bounded=True, refreshed=True))
    for rows, truth, _ in steps(scheduler_of(SMALL, 0), 1000):
        batch = serving.next_batch()
        serving.verify(batch)
        found = batch.seq_lens.tolist()
        assert found[: len(rows)] == truth.tolist()
        assert not any(found[len(rows) :])
