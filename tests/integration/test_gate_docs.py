"""The examples of docs/gate.md and docs/ci.md work as printed: the policy is read, the workflow and the hook run."""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from syncwatch.app.project.config import read_settings
from syncwatch.attribute.causes import CAUSES
from syncwatch.judge.allows import allows_in
from syncwatch.model.verdict import Budgets, Level, Reason, Severity
from tests.helpers.command import ROOT, Ended, syncwatch

CLEAN = "import torch\n\nx = torch.arange(8, device='cuda') * 2\n"
WAITING = CLEAN + "print(x.sum().item())\n"


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / "docs" / page).read_text()
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def test_the_policy_of_the_page_is_read(tmp_path: Path) -> None:
    (text,) = blocks("gate.md", "toml")
    (tmp_path / "pyproject.toml").write_text(text)
    settings = read_settings(tmp_path)
    assert settings.policy.implicit is Level.DISALLOW and settings.policy.explicit is Level.LOG
    assert settings.policy.budgets == Budgets(2, 4, 4096, 200, 100, 50)
    assert len(settings.policy.allows) == 1


def test_the_allow_comments_of_the_page_are_read() -> None:
    text = blocks("gate.md", "python")[0]
    assert [allow.line for allow in allows_in("page.py", text, CAUSES)] == [1, 2]


def test_the_page_names_every_reason_and_severity() -> None:
    text = (ROOT / "docs" / "gate.md").read_text()
    missing = [each.value for each in (*Reason, *Severity) if f'"{each.value}"' not in text]
    assert not missing


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.py").write_text(CLEAN)
    return tmp_path


def gate_of(command: str, folder: Path) -> Ended:
    """Run one documented command line, without a shell's help but for the variables in it."""
    name, *arguments = shlex.split(command.replace("$GITHUB_STEP_SUMMARY", str(folder / "summary.md")))
    assert name == "syncwatch"
    return syncwatch(*arguments, cwd=folder, env={"PYTHONPATH": os.pathsep.join(sys.path)})


def test_the_workflow_fails_on_a_line_that_waits_and_annotates_it(folder: Path) -> None:
    workflow: dict[Any, Any] = yaml.safe_load(blocks("ci.md", "yaml")[0])
    steps = workflow["jobs"]["gate"]["steps"]
    (command,) = [step["run"] for step in steps if step.get("name") == "Gate"]

    clean = gate_of(command, folder)
    assert clean.code == 0, clean.err
    (folder / "train.py").write_text(WAITING)
    over = gate_of(command, folder)
    assert over.code == 1
    assert "::error file=train.py,line=4" in over.out
    assert "train.py" in (folder / "summary.md").read_text()
    assert (folder / "run.json").exists()


def test_the_hook_fails_on_a_line_that_waits(folder: Path) -> None:
    config = next(block for text in blocks("ci.md", "yaml") if "repos" in (block := yaml.safe_load(text)))
    (hook,) = config["repos"][0]["hooks"]

    assert (hook["language"], hook["pass_filenames"]) == ("system", False)
    assert gate_of(hook["entry"], folder).code == 0
    (folder / "train.py").write_text(WAITING)
    assert gate_of(hook["entry"], folder).code == 1
