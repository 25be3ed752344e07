"""The pages that come from the code are not stale."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.command import ROOT

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
