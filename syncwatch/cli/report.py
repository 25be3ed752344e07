"""The command `syncwatch report`: shows a saved run again, or a trace that another program recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from syncwatch.app.report import opened, show
from syncwatch.cli.options import FormatOption, StepRangeOption, formats, require_files_apart
from syncwatch.cli.streams import out, settle


def report(
    run: Annotated[
        Path,
        typer.Argument(
            help="A file of syncwatch run -o, an nsys .sqlite or .nsys-rep, or a torch.profiler .json or .json.gz.",
            show_default=False,
        ),
    ],
    step_range: StepRangeOption = None,
    form: FormatOption = None,
) -> None:
    """Show a saved run or a trace, in any format.

    Examples: syncwatch report run.json; syncwatch report profile.sqlite --step-range "decode *".
    """
    outputs = formats(form)
    require_files_apart(outputs, None, the_run_itself=run)
    analysis = opened(run, step_range)
    settle()
    show(outputs, analysis, stdout=out())
