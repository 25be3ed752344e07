"""Answers: what does `syncwatch gate` do? It judges a saved run, and its exit code is the verdict."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer
from typing_extensions import assert_never

from syncwatch.cli.options import Format, FormatOption, show
from syncwatch.cli.screen import say
from syncwatch.errors import EXIT_CLEAN, EXIT_NOT_MEASURED, EXIT_OVER_POLICY
from syncwatch.model.session import Session
from syncwatch.model.verdict import Outcome, Policy
from syncwatch.pipeline import judge_of, report_of


def gate(
    run: Annotated[Path, typer.Argument(help="A file that syncwatch run -o wrote.", show_default=False)],
    max_syncs: Annotated[float, typer.Option(min=0, help="Implicit syncs a step that are allowed.")] = 0.0,
    variant: Annotated[
        Optional[list[str]],  # noqa: UP045  # typer evaluates this on Python 3.10
        typer.Option(help="Variant to judge; may be given more than once.", show_default="the last"),
    ] = None,
    form: FormatOption = Format.TERMINAL,
) -> None:
    """Judge a saved run: exit 0 clean, 1 over policy, 3 could not measure."""
    found = report_of(Session.load(run))
    verdict = judge_of(found, Policy(max_syncs_per_step=max_syncs, variants=tuple(variant or ())))
    show(found, form)
    for reason in verdict.reasons:
        say(reason)
    raise typer.Exit(_exit_code(verdict.outcome))


def _exit_code(outcome: Outcome) -> int:
    if outcome is Outcome.CLEAN:
        return EXIT_CLEAN
    if outcome is Outcome.OVER:
        return EXIT_OVER_POLICY
    if outcome is Outcome.UNMEASURED:
        return EXIT_NOT_MEASURED
    assert_never(outcome)
