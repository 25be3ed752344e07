"""The pages for contributors name files that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("syncwatch", "kernels", "scenarios", "tests", "benchmarks", "docs", ".github", ".ci")


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/adding.md", "docs/releasing.md", "docs/glossary.md"])
def test_every_path_of_the_page_exists(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    paths = {path for path in re.findall(r"`([\w./-]+)`", text) if path.split("/")[0] in FOLDERS and "/" in path}
    links = {link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link}

    assert paths or links
    assert not sorted(path for path in paths if not (ROOT / path).exists())
    assert not sorted(link for link in links if not ((ROOT / page).parent / link).exists())


def test_the_journeys_take_no_step_back() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    journeys = text.partition("## Three journeys")[2].partition("\n## ")[0].split("### ")[1:]

    assert len(journeys) == 3
    for journey in journeys:
        steps = re.findall(r"^\d+\. `([\w./]+)`", journey, re.MULTILINE)
        assert len(steps) > 5 and len(steps) == len(set(steps))
