"""The commands of syncwatch, and what happens when one refuses."""

from __future__ import annotations

from typing import Annotated

import typer

from syncwatch.cli.commands import CommandGroup
from syncwatch.cli.screen import print_error
from syncwatch.cli.streams import kept
from syncwatch.errors import EXIT_CLEAN, EXIT_INTERRUPTED
from syncwatch.version import __version__

app = typer.Typer(
    name="syncwatch",
    cls=CommandGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Find the lines of PyTorch code that make the CPU wait for the GPU, and say what each costs.",
    epilog="Exit codes: 0 clean, 1 over policy, 2 usage, 3 could not measure, 130 interrupted, 143 terminated.",
)


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


def run_app() -> int:
    """Run what the user typed, and return the exit code; a usage error is shown."""
    try:
        # Left to itself, typer ends with `sys.exit`, which a target may have replaced.
        code = app(standalone_mode=False)
    except typer.Abort:
        print_error("Interrupted.")
        return EXIT_INTERRUPTED
    except Exception as error:
        if not hasattr(error, "show") or not hasattr(error, "exit_code"):
            raise
        # What click calls a ClickException; which click that is differs between releases of typer.
        error.show()
        return int(error.exit_code)
    return code if isinstance(code, int) else EXIT_CLEAN
