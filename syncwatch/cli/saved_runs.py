"""The commands on saved runs: `syncwatch report` shows one again, `compare` two, and `export` writes one as a trace."""

from __future__ import annotations

import shlex
from enum import Enum
from pathlib import Path
from typing import Annotated, Optional

import typer
from typing_extensions import assert_never

from syncwatch.app.compare import run_comparison_of
from syncwatch.app.export import TraceFormat, count_untimed, only_variants
from syncwatch.app.export import export as write_trace
from syncwatch.app.report import open_run, show
from syncwatch.cli.options import FormatOption, StepRangeOption, formats, require_files_apart
from syncwatch.cli.outputs import require_apart
from syncwatch.cli.streams import out, settle
from syncwatch.model.codec import encode
from syncwatch.pipeline import analysed
from syncwatch.report.run_comparison import RunComparisonReporter
from syncwatch.traces.opening import open_session


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
    analysis = open_run(run, step_range)
    settle()
    show(outputs, analysis, stdout=out())


class ComparisonFormat(str, Enum):
    """How a comparison is shown."""

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
    form: Annotated[
        ComparisonFormat, typer.Option("--format", help="How to show the comparison.")
    ] = ComparisonFormat.TERMINAL,
) -> None:
    """Compare two saved runs: lines gone, new and changed, and what the step gained.

    A line that moved within its file stays the same line. Its calls have to be equal; its times have changed when they
    differ by more than 10 % and more than 40 us, on the virtual device when they differ at all.

    Examples: syncwatch compare before.json after.json; syncwatch compare a.json b.json --variant naive:precomputed.
    """
    found = run_comparison_of(before, after, tuple(variant or ()), step_range)
    if form is ComparisonFormat.TERMINAL:
        screen = out().screen
        out().write(RunComparisonReporter(screen.width, color=screen.color, unicode=screen.unicode).render(found))
    elif form is ComparisonFormat.JSON:
        out().write(encode(found).decode())
    else:
        assert_never(form)


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
    session = only_variants(open_session(run, step_range), variant or ())
    write_trace(analysed(session), form, output)
    syncs, copies = count_untimed(session)
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
