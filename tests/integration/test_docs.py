"""The pages of docs/ that are generated from the code are up to date."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.command import ROOT, syncwatch

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


def test_the_figures_of_the_pages_are_those_of_the_results() -> None:
    made = figures("--check")

    assert made.returncode == 0, f"run `python benchmarks/readme.py`: {made.stdout}"


def test_every_figure_has_results_of_todays_form_or_says_that_it_was_not_recorded() -> None:
    made = figures("--check")

    for said in (line for line in made.stderr.splitlines() if "left as it is" in line):
        page, block = re.match(r"(.+), figures:([\w-]+): left as it is\. .+ is missing\.$", said).groups()  # type: ignore[union-attr]
        text = (ROOT / page).read_text(encoding="utf-8").partition(f"<!-- figures:{block} -->")[2]
        assert "not recorded yet" in text.partition("<!-- end -->")[0], said


def test_a_figure_without_results_is_left_and_named(tmp_path: Path) -> None:
    made = figures("--check", "--results", str(tmp_path))

    assert made.returncode == 0 and made.stdout == ""
    assert "README.md, figures:kernels: left as it is. gdn_prefill_kernels.json is missing." in made.stderr.splitlines()


def test_a_figure_that_the_results_do_not_have_is_found(tmp_path: Path) -> None:
    results = tmp_path / "results"
    shutil.copytree(ROOT / "benchmarks" / "results", results)
    kernels = json.loads((results / "gdn_prefill_kernels.json").read_bytes())
    for case in kernels["cases"]:
        case["eager"]["ratio"] *= 1.1
    (results / "gdn_prefill_kernels.json").write_text(json.dumps(kernels))

    made = figures("--check", "--results", str(results))

    assert made.returncode == 1 and "README.md: differs from the results" in made.stdout.splitlines()


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))], ids=lambda page: page.name
)
def test_links_between_the_pages_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http", "mailto")):
            continue
        path, _, anchor = target.partition("#")
        linked = page.parent / path if path else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


def figures(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "benchmarks/readme.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
