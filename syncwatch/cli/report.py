"""Answers: what does `syncwatch report` do? It shows a saved run again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from syncwatch.cli.options import FormatOption, formats, show
from syncwatch.model.session import Session
from syncwatch.pipeline import report_of


def report(
    run: Annotated[Path, typer.Argument(help="A file that syncwatch run -o wrote.", show_default=False)],
    form: FormatOption = None,
) -> None:
    """Show a saved run again, in any format."""
    session = Session.load(run)
    show(formats(form), session, report_of(session))
