"""Answers: which options do several commands share, and how are they checked?"""

from __future__ import annotations

import os
import sys
from enum import Enum
from pathlib import Path
from typing import Annotated, Optional

import msgspec
import typer
from rich.console import Console
from typing_extensions import assert_never

from syncwatch.errors import UsageError
from syncwatch.model.codec import encode
from syncwatch.model.finding import Report
from syncwatch.model.verdict import Verdict
from syncwatch.report.base import Reporter
from syncwatch.report.json import JsonReporter
from syncwatch.report.terminal import TerminalReporter
from syncwatch.report.verdict import VerdictReporter
from syncwatch.sense.device import DeviceChoice


class Format(str, Enum):
    """How a report is shown."""

    TERMINAL = "terminal"
    JSON = "json"

    def reporter(self) -> Reporter:
        """Return the reporter of this format, made for the stdout of this process."""
        if self is Format.TERMINAL:
            console = Console()
            return TerminalReporter(console.width, color=console.color_system is not None, unicode=_speaks_unicode())
        if self is Format.JSON:
            return JsonReporter()
        assert_never(self)


FormatOption = Annotated[Format, typer.Option("--format", help="How to show the report.")]

TargetArgument = Annotated[
    Optional[str],  # noqa: UP045  # typer evaluates this on Python 3.10
    typer.Argument(help="A scenario, a script.py, or pkg.mod:function.", show_default=False),
]
ArgumentsArgument = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Argument(help="Arguments of the script or module, after --.", show_default=False),
]
ModuleOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("-m", "--module", help="Run a module, as python -m does.", metavar="PKG.MOD"),
]
DeviceOption = Annotated[
    DeviceChoice, typer.Option(help="auto takes the GPU if there is one, else the virtual device.")
]
StepsOption = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(min=1, help="Measured steps of a scenario.", show_default="20, virtual 3"),
]
WarmupOption = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(min=0, help="Steps before the measured ones.", show_default="5, virtual 1"),
]
PresetOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="Model shapes of a scenario; see syncwatch list."),
]
TokensOption = Annotated[Optional[int], typer.Option(min=1, help="Tokens a step.")]  # noqa: UP045
BatchOption = Annotated[Optional[int], typer.Option(min=1, help="Sequences a step.")]  # noqa: UP045
LayersOption = Annotated[Optional[int], typer.Option(min=1, help="Layers of the stack.")]  # noqa: UP045
CacheMissOption = Annotated[bool, typer.Option("--cache-miss", help="Defeat identity caches: one host read a layer.")]
RegimeOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="The host's own work a step: gpu-bound, balanced or host-bound.", show_default="none"),
]
LengthsOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="Sequences of a step: 1x8192, 8x1024, 512,100 or ragged.", show_default="ragged"),
]
SeedOption = Annotated[int, typer.Option(help="Seed of weights and batches.")]
OutputOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("-o", "--output", help="Write the run: the JSON report and the recording behind it."),
]


def show(report: Report, form: Format) -> None:
    """Write the report to stdout; what its encoding cannot hold is replaced, never raised."""
    _write(form.reporter().render(report))


def show_verdict(report: Report, verdict: Verdict, form: Format) -> None:
    """Write the verdict on `report` to stdout, as `show` does a report."""
    if form is Format.TERMINAL:
        console = Console()
        color, unicode = console.color_system is not None, _speaks_unicode()
        _write(VerdictReporter(console.width, color=color, unicode=unicode).render(report, verdict))
    elif form is Format.JSON:
        _write(encode({**msgspec.to_builtins(report), "verdict": verdict}).decode())
    else:
        assert_never(form)


def _write(text: str) -> None:
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, errors="replace").decode(encoding))
    sys.stdout.flush()


def _speaks_unicode() -> bool:
    return (sys.stdout.encoding or "").lower().startswith("utf")


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
