"""The versions that are pinned, that are allowed, and that were tried agree with each other."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import pytest

from syncwatch.compat.tried import NEWEST_TORCH, NEWEST_TRITON, OLDEST_TORCH, newer_than_tried, numbers

ROOT = Path(__file__).parents[2]
ROWS = sorted((ROOT / "benchmarks" / "results" / "torch").glob("*.json"))


def pinned(package: str) -> str:
    found = re.search(rf"^{package}==(.+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None
    return found[1]


def test_what_is_pinned_was_tried() -> None:
    assert newer_than_tried(pinned("torch"), pinned("triton")) == ()


def test_the_oldest_that_is_allowed_is_the_oldest_that_is_watched() -> None:
    project = msgspec.toml.decode((ROOT / "pyproject.toml").read_bytes())["project"]

    assert f"torch>={OLDEST_TORCH}" in project["dependencies"]
    assert any(each.startswith("triton>=3.5;") for each in project["dependencies"])


def test_readme_and_ci_name_the_versions_that_were_tried() -> None:
    oldest, newest = OLDEST_TORCH, ".".join(map(str, numbers(NEWEST_TORCH) or ()))

    assert f"torch {oldest} to {newest}" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"make test-torch TORCH={NEWEST_TORCH} ARGS=--quick" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_the_newest_that_count_as_tried_have_a_row() -> None:
    rows = [json.loads(path.read_bytes()) for path in ROWS]

    assert NEWEST_TORCH in [row["torch"].partition("+")[0] for row in rows]
    assert NEWEST_TRITON in [row["triton"] for row in rows]


@pytest.mark.parametrize("path", ROWS, ids=lambda path: path.stem)
def test_a_row_that_is_kept_is_a_good_one(path: Path) -> None:
    row = json.loads(path.read_bytes())

    assert all(row["scenarios"].values())
    assert row["crashes"] == []
    assert row["operators"]["wrong"] == []
    # On the GPU this idiom waited because of what had run before it: see docs/virtual-device.md.
    assert row["idioms"]["wrong"] == ["empty_cache"]
