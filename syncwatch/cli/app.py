"""Answers: which commands are there, and what happens when one refuses?"""

from __future__ import annotations

import sys
import traceback
from typing import Annotated

import typer

from syncwatch import __version__
from syncwatch.cli import compare, doctor, explain, export, gate, listing, probe, report, run
from syncwatch.cli.screen import say
from syncwatch.cli.streams import err, kept
from syncwatch.errors import EXIT_INTERRUPTED, EXIT_NOT_MEASURED, SyncwatchError

app = typer.Typer(
    name="syncwatch",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Find the lines of PyTorch code that make the CPU wait for the GPU, and say what each costs.",
    epilog="Exit codes: 0 clean, 1 over policy, 2 usage, 3 could not measure, 130 interrupted, 143 terminated.",
)
app.command(name="run")(run.run)
app.command(name="gate")(gate.gate)
app.command(name="report")(report.report)
app.command(name="compare")(compare.compare)
app.command(name="export")(export.export)
app.command(name="explain")(explain.explain)
app.command(name="list")(listing.list_scenarios)
app.command(name="doctor")(doctor.doctor)
app.command(name="probe")(probe.probe)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"syncwatch {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None:
    # Here too, for whoever calls `app` itself.
    context.with_resource(kept())


def main() -> None:
    """Run the command line; every refusal becomes a sentence on stderr and its exit code."""
    with kept(for_good=True):
        _main()


def _main() -> None:
    try:
        app()
    except SyncwatchError as error:
        say(str(error))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        say("Interrupted.")
        sys.exit(EXIT_INTERRUPTED)
    except Exception:
        # Python would end with 1, which here means "over policy".
        err().write(traceback.format_exc())
        say("This is a fault of syncwatch, and nothing was judged. Please report it with the lines above.")
        sys.exit(EXIT_NOT_MEASURED)
