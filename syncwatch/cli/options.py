"""Answers: which options do several commands share, and how are they checked?"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console

from syncwatch.errors import UsageError
from syncwatch.model.finding import Report
from syncwatch.model.session import Session
from syncwatch.model.verdict import Verdict
from syncwatch.reporting import Output, Screen, outputs_of, rendered, write_text
from syncwatch.sense.device import DeviceChoice

FormatOption = Annotated[
    Optional[list[str]],  # noqa: UP045  # typer evaluates this on Python 3.10
    typer.Option(
        "--format",
        metavar="FORMAT[=FILE]",
        help="terminal, json, junit, sarif, github (annotations), markdown (job summary) or html (a page with the "
        "timeline), to stdout or a file; may be given more than once.",
        show_default="terminal",
    ),
]

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
RoundsOption = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        min=1,
        help="Times that the measured steps of each variant are repeated, in turn with the others'.",
        show_default="5, virtual 1",
    ),
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
StepRangeOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--step-range",
        metavar="NAME",
        help="The NVTX range or annotation that marks a step of a trace; * stands for anything, naive/step* for "
        "steps inside a range called naive.",
        show_default="those of syncwatch and torch.profiler",
    ),
]
OutputOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("-o", "--output", help="Write the run: the JSON report and the recording behind it."),
]


def formats(asked: list[str] | None) -> tuple[Output, ...]:
    """Return what `--format` asks for, before the work is done.

    Raises:
        UsageError: if there is no such format, or a file could not be written.
    """
    outputs = outputs_of(asked or ())
    for output in outputs:
        require_writable(output.path)
    return outputs


def only_report(outputs: Iterable[Output]) -> bool:
    """Return whether stdout is for a document, so that nothing else may be printed there."""
    return any(output.path is None and not output.form.shares for output in outputs)


def show(outputs: Iterable[Output], session: Session, report: Report, verdict: Verdict | None = None) -> None:
    """Write the report of `session`, or the verdict on it, in every format that was asked for.

    On stdout what its encoding cannot hold is replaced, never raised.
    """
    console = Console()
    screen = Screen(console.width, shows_colour(console), speaks_unicode())
    for output in outputs:
        text = rendered(output.form, report, verdict, screen, session)
        if output.path is None:
            write(text)
        else:
            write_text(text, output.path)


def write(text: str) -> None:
    """Write `text` to stdout; what its encoding cannot hold is replaced, never raised.

    A reader that has seen enough, such as `head`, changes no exit code.

    Raises:
        UsageError: if stdout cannot be written for another reason, such as a full disk.
    """
    encoding = sys.stdout.encoding or "utf-8"
    try:
        sys.stdout.write(text.encode(encoding, errors="replace").decode(encoding))
        sys.stdout.flush()
    except BrokenPipeError:
        _silence_stdout()
    except OSError as error:
        _silence_stdout()
        raise UsageError(f"Cannot write to stdout: {error.strerror}. Give the report a file with --format.") from error


def _silence_stdout() -> None:
    """Send what is left to nowhere: Python flushes stdout as it ends, and would fail again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def shows_colour(console: Console) -> bool:
    """Return whether stdout shows colours and nobody set NO_COLOR, which rich leaves to whoever prints."""
    return console.color_system is not None and not console.no_color


def speaks_unicode() -> bool:
    """Return whether stdout can show more than ASCII."""
    return (sys.stdout.encoding or "").lower().startswith("utf")


def require_writable(path: Path | None) -> None:
    """Refuse an output that could not be written, before the work is done.

    Raises:
        UsageError: with what stands in the way.
    """
    if path is None:
        return
    folder = path.parent
    if str(path) == "-":
        raise UsageError(
            "Cannot write to -: that is no file. Give one, or name a --format alone, which goes to stdout."
        )
    if path.is_dir():
        raise UsageError(f"Cannot write {path}: it is a folder. Give a file, such as {path / 'run.json'}.")
    if not folder.is_dir():
        raise UsageError(f"Cannot write {path}: the folder {folder} does not exist. Make it first, or give another.")
    if not os.access(folder, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise UsageError(f"Cannot write {path}: permission denied. Give a file in a folder that you may write to.")
