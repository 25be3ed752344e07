"""`syncwatch gate` on a GPU: times are measured, so time budgets are judged, and a saved run can be judged again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.command import Ended, syncwatch

pytestmark = pytest.mark.gpu

SCRIPT = """\
import torch

import syncwatch

x = torch.randn(2048, 2048, device="cuda")
for number in range(6):
    with syncwatch.step(warmup=number < 2):
        (x @ x).sum().item()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.py").write_text(SCRIPT)
    return tmp_path


def gate(folder: Path, *arguments: str) -> tuple[Ended, dict[str, Any]]:
    ended = syncwatch("gate", *arguments, "--format", "json", cwd=folder)
    assert ended.out, ended.err
    verdict: dict[str, Any] = json.loads(ended.out)["verdict"]
    return ended, verdict


def test_a_line_that_waits_fails_and_is_known_afterwards_also_in_the_saved_run(folder: Path) -> None:
    over, verdict = gate(folder, "train.py", "--device", "cuda", "-o", "run.json")
    assert (over.code, verdict["device"]) == (1, "cuda")
    assert [(each["file"], each["line"]) for each in verdict["rulings"]] == [("train.py", 8)]
    # The saved run is sound: it is checked when it is read.
    assert gate(folder, "run.json")[0].code == 1
    assert gate(folder, "train.py", "--device", "cuda", "--update-baseline")[0].code == 0
    assert gate(folder, "run.json")[0].code == 0


@pytest.mark.parametrize(("limit", "code", "reasons"), [(0.001, 1, ["over-budget"]), (1e9, 0, [])])
def test_a_budget_of_time_is_judged(folder: Path, limit: float, code: int, reasons: list[str]) -> None:
    policy = f'implicit = "allow"\nbudgets = {{ host_blocked_us = {limit}, gpu_idle_us = {limit} }}\n'
    (folder / "syncwatch.toml").write_text(policy)
    ended, verdict = gate(folder, "train.py", "--device", "cuda")
    assert ended.code == code, ended.err
    assert sorted({each["reason"] for each in verdict["rulings"]}) == reasons
