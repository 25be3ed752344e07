"""Answers: which options do several commands share, and how are they checked?"""

from __future__ import annotations

import os
import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from typing_extensions import assert_never

from syncwatch.errors import UsageError
from syncwatch.model.finding import Report
from syncwatch.report.base import Reporter
from syncwatch.report.json import JsonReporter
from syncwatch.report.terminal import TerminalReporter


class Format(str, Enum):
    """How a report is shown."""

    TERMINAL = "terminal"
    JSON = "json"

    def reporter(self) -> Reporter:
        """Return the reporter of this format, made for the stdout of this process."""
        if self is Format.TERMINAL:
            console = Console()
            unicode = (sys.stdout.encoding or "").lower().startswith("utf")
            return TerminalReporter(console.width, color=console.color_system is not None, unicode=unicode)
        if self is Format.JSON:
            return JsonReporter()
        assert_never(self)


FormatOption = Annotated[Format, typer.Option("--format", help="How to show the report.")]


def show(report: Report, form: Format) -> None:
    """Write the report to stdout; what its encoding cannot hold is replaced, never raised."""
    text = form.reporter().render(report)
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, errors="replace").decode(encoding))
    sys.stdout.flush()


def require_writable(path: Path | None) -> None:
    """Refuse an output that could not be written, before the work is done.

    Raises:
        UsageError: with what stands in the way.
    """
    if path is None:
        return
    folder = path.parent
    if path.is_dir():
        raise UsageError(f"Cannot write {path}: it is a folder. Give a file, such as {path / 'run.json'}.")
    if not folder.is_dir():
        raise UsageError(f"Cannot write {path}: the folder {folder} does not exist. Make it first, or give another.")
    if not os.access(folder, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise UsageError(f"Cannot write {path}: permission denied. Give a file in a folder that you may write to.")
