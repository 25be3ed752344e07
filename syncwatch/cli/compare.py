"""The command `syncwatch compare`: says what changed between two saved runs, or traces."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Optional

import typer
from typing_extensions import assert_never

from syncwatch.app.compare import difference_of
from syncwatch.cli.options import StepRangeOption
from syncwatch.cli.streams import out
from syncwatch.model.codec import encode
from syncwatch.report.difference import DifferenceReporter


class Form(str, Enum):
    """How a difference is shown."""

    TERMINAL = "terminal"
    JSON = "json"


def compare(
    before: Annotated[
        Path, typer.Argument(help="The earlier run, or a trace of nsys or torch.profiler.", show_default=False)
    ],
    after: Annotated[Path, typer.Argument(help="The later run.", show_default=False)],
    variant: Annotated[
        Optional[list[str]],  # noqa: UP045  # typer evaluates this on Python 3.10
        typer.Option(
            metavar="NAME|BEFORE:AFTER",
            help="The variant to compare, or one of each run; may be given more than once.",
            show_default="each that both runs have; where there is none, the last of each",
        ),
    ] = None,
    step_range: StepRangeOption = None,
    form: Annotated[Form, typer.Option("--format", help="How to show the difference.")] = Form.TERMINAL,
) -> None:
    """Compare two saved runs: lines gone, new and changed, and what the step gained.

    A line that moved within its file stays the same line. Its calls have to be equal; its times have changed when they
    differ by more than 10 % and more than 40 us, on the virtual device when they differ at all.

    Examples: syncwatch compare before.json after.json; syncwatch compare a.json b.json --variant naive:precomputed.
    """
    found = difference_of(before, after, tuple(variant or ()), step_range)
    if form is Form.TERMINAL:
        screen = out().screen
        out().write(DifferenceReporter(screen.width, color=screen.color, unicode=screen.unicode).render(found))
    elif form is Form.JSON:
        out().write(encode(found).decode())
    else:
        assert_never(form)
