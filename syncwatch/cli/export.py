"""The command `syncwatch export`: writes a saved run as a trace that another tool opens."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Optional

import typer
from typing_extensions import assert_never

from syncwatch.app.export import TraceFormat, only, untimed
from syncwatch.app.export import export as write_trace
from syncwatch.cli.options import StepRangeOption
from syncwatch.cli.outputs import require_apart
from syncwatch.pipeline import analysed
from syncwatch.traces.opening import open_session


def export(
    run: Annotated[
        Path, typer.Argument(help="A file of syncwatch run -o, or any trace that report reads.", show_default=False)
    ],
    form: Annotated[
        TraceFormat, typer.Option("--format", help="Nsight Systems' SQLite, or Chrome JSON.", show_default=False)
    ],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="For nsys FILE.sqlite; for perfetto FILE.json or FILE.json.gz."),
    ],
    variant: Annotated[
        Optional[list[str]],  # noqa: UP045  # typer evaluates this on Python 3.10
        typer.Option(metavar="NAME", help="Only this variant; may be given more than once.", show_default="all"),
    ] = None,
    step_range: StepRangeOption = None,
) -> None:
    """Write a saved run as a trace: every kernel, copy, host call, range and wait, each wait with its cause and line.

    Examples: syncwatch export run.json --format nsys -o run.sqlite; nsys stats run.sqlite.
    """
    require_apart([output], {"the run itself": run})
    session = only(open_session(run, step_range), variant or ())
    write_trace(analysed(session), form, output)
    syncs, copies = untimed(session)
    if syncs or copies:
        count = f"{syncs} {'wait' if syncs == 1 else 'waits'} and {copies} {'copy' if copies == 1 else 'copies'}"
        typer.echo(f"note: {count} were not timed, so the time line lacks them.", err=True)
    typer.echo(_next_step(form, output))


def _next_step(form: TraceFormat, output: Path) -> str:
    if form is TraceFormat.NSYS:
        file = shlex.quote(str(output))
        return f"Wrote {output}. Read it with `nsys stats {file}` or `nsys analyze {file}`."
    if form is TraceFormat.PERFETTO:
        return f"Wrote {output}. Open it at https://ui.perfetto.dev; it stays on your machine."
    assert_never(form)
