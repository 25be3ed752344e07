"""A tag is released only where the version and the changelog say the same."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

RELEASE = runpy.run_path(str(Path(__file__).parents[2] / ".ci" / "release.py"))
CHANGELOG = (
    "# Changelog\n\n## Unreleased\n\n## 0.2.0 - 2027-01-31\n\n### Added\n- More.\n\n## 0.1.0 - 2026-12-01\n- All.\n"
)


def test_the_notes_are_one_section() -> None:
    assert RELEASE["notes_of"]("0.2.0", CHANGELOG) == "### Added\n- More.\n"
    assert RELEASE["notes_of"]("0.1.0", CHANGELOG) == "- All.\n"


@pytest.mark.parametrize(
    ("changelog", "said"),
    [
        (CHANGELOG.replace("0.2.0", "0.3.0"), "no heading '## 0.2.0"),
        (CHANGELOG.replace(" - 2027-01-31", ""), "should be '## 0.2.0 - YYYY-MM-DD'"),
        (CHANGELOG.replace("### Added\n- More.\n", ""), "nothing under 0.2.0"),
    ],
)
def test_a_changelog_that_is_not_ready_is_refused(changelog: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        RELEASE["notes_of"]("0.2.0", changelog)


def test_another_tag_than_the_version_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert RELEASE["main"](["v99.0.0"]) == 1
    assert "The tag is v99.0.0, but syncwatch/version.py says " in capsys.readouterr().err
    assert RELEASE["main"]([]) == 2
