"""The options that several commands share, and how they are checked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Optional

import typer

from syncwatch.app.report import Output, outputs_of
from syncwatch.cli import completion
from syncwatch.cli.outputs import require_apart, require_writable
from syncwatch.sense.choose_device import DeviceChoice

FormatOption = Annotated[
    Optional[list[str]],  # noqa: UP045  # typer evaluates this on Python 3.10
    typer.Option(
        "--format",
        metavar="FORMAT[=FILE]",
        help="terminal, json, junit, sarif, github (annotations), markdown (job summary) or html (a page with the "
        "timeline), to stdout or a file; may be given more than once.",
        show_default="terminal",
        autocompletion=completion.forms,
    ),
]

TargetArgument = Annotated[
    Optional[str],  # noqa: UP045  # typer evaluates this on Python 3.10
    typer.Argument(
        help="A scenario, a script.py, or pkg.mod:function.", show_default=False, autocompletion=completion.scenarios
    ),
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
SkipStepsOption = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(min=0, help="Watch your own code from this step on, the first being 0; syncwatch.step() marks steps."),
]
ForStepsOption = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(min=1, help="Watch until so many steps have ended; the program runs on."),
]
SecondsOption = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option(help="Watch for so many seconds, and to the end of the step that runs then; the program runs on."),
]
SignalOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--signal",
        metavar="USR1|USR2",
        help="Watch from the first of these signals to the second. A program that handles the one itself needs the "
        "other one here.",
    ),
]
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
    """Return what `--format` asks for, before the work is done; the code that is watched may leave this folder.

    Raises:
        UsageError: if there is no such format, or a file could not be written.
    """
    outputs = outputs_of(asked or ())
    for output in outputs:
        require_writable(output.path)
    return tuple(output if output.path is None else replace(output, path=output.path.absolute()) for output in outputs)


def require_files_apart(outputs: Iterable[Output], run: Path | None, **used: Path | None) -> None:
    """Refuse files that would be written over what the command reads, over each other, or over no report of ours.

    Args:
        outputs: what `--format` asks for.
        run: what `-o` asks for.
        used: the files that the command reads, by what each is, with `_` for a blank.

    Raises:
        UsageError: with what would be lost.
    """
    files = [run, *(output.path for output in outputs)]
    named = {what.replace("_", " "): path for what, path in used.items()}
    require_apart([file for file in files if file is not None], named)


def only_report(outputs: Iterable[Output]) -> bool:
    """Return whether stdout is for a document, so that nothing else may be printed there."""
    return any(output.path is None and not output.form.shares for output in outputs)
