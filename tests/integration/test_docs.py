"""The pages that come from the code are not stale."""

from __future__ import annotations

import os
import subprocess
import sys

import msgspec

from syncwatch.model.finding import Report
from syncwatch.report.terminal import TerminalReporter
from tests.command import ROOT, syncwatch

_NAMED = ("--name", "syncwatch", "--title", "The command line")


def test_the_command_line_page_is_what_the_commands_say() -> None:
    made = subprocess.run(
        [sys.executable, "-m", "typer", "syncwatch.cli.app", "utils", "docs", *_NAMED],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "NO_COLOR": "1"},
    )

    assert made.stdout.strip() == (ROOT / "docs" / "cli.md").read_text().strip(), "run `make docs`"


def test_the_page_of_causes_is_what_explain_says() -> None:
    made = syncwatch("explain", "--markdown")

    assert made.out == (ROOT / "docs" / "causes.md").read_text(), "run `make docs`"


def test_the_finding_on_the_first_screen_is_one_that_was_measured() -> None:
    report = msgspec.json.decode((ROOT / "benchmarks/results/llama_generate.json").read_bytes(), type=Report)
    shown = TerminalReporter(118).render(report)
    block = (ROOT / "README.md").read_text().partition("```console\n")[2].partition("\n```")[0]

    finding = block[block.index("SW103") :]
    assert finding in shown


def test_the_rows_of_the_readme_are_those_of_the_results() -> None:
    names = ("397b_8192", "80b_8192", "80b_1024_miss", "2b_1024")
    results = [str(ROOT / f"benchmarks/results/gdn_prefill_{name}.json") for name in names]
    made = subprocess.run(
        [sys.executable, "benchmarks/summary.py", *results], capture_output=True, text=True, check=True, cwd=ROOT
    )

    assert made.stdout.strip() in (ROOT / "README.md").read_text()
