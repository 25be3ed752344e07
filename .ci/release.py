"""Checks that a tag may be released, and prints what the changelog says of it.

    python .ci/release.py v0.1.0            exit 1 with a sentence where the tag, the version and the changelog disagree
    python .ci/release.py v0.1.0 --notes    the section of that version, for the page of the release

It needs Python alone: a release is checked before anything is installed.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def version() -> str:
    """Return the version that the package says of itself.

    Raises:
        ValueError: if it says none.
    """
    found = re.search(r'^__version__ = "(.+)"$', (ROOT / "syncwatch" / "version.py").read_text(), re.MULTILINE)
    if found is None:
        raise ValueError('syncwatch/version.py has no line __version__ = "...".')
    return found[1]


def notes_of(wanted: str, changelog: str) -> str:
    """Return what `changelog` says under the heading of the version `wanted`, without the heading.

    Raises:
        ValueError: if there is no such heading, or it has no date, or nothing stands under it.
    """
    for section in re.split(r"^## ", changelog, flags=re.MULTILINE)[1:]:
        heading, _, text = section.partition("\n")
        if heading.split(" ")[0].strip("[]") != wanted:
            continue
        if not re.fullmatch(r"\S+ - \d{4}-\d\d-\d\d", heading):
            raise ValueError(f"CHANGELOG.md has the heading {heading!r}; it should be '## {wanted} - YYYY-MM-DD'.")
        if not text.strip():
            raise ValueError(f"CHANGELOG.md says nothing under {wanted}.")
        return text.strip() + "\n"
    raise ValueError(f"CHANGELOG.md has no heading '## {wanted} - YYYY-MM-DD'. Rename 'Unreleased', and commit.")


def main(arguments: list[str]) -> int:
    """Check the tag that is the first of `arguments`, and return the exit status."""
    if not arguments or arguments[1:] not in ([], ["--notes"]):
        print("usage: python .ci/release.py vX.Y.Z [--notes]", file=sys.stderr)
        return 2
    try:
        if arguments[0] != f"v{version()}":
            raise ValueError(f"The tag is {arguments[0]}, but syncwatch/version.py says {version()}.")
        notes = notes_of(version(), (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if "--notes" in arguments:
        print(notes, end="")
    else:
        print(f"{arguments[0]} may be released.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
