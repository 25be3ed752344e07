"""The entry point of the command `syncwatch`: supervises where code will run, and else is the program."""

from __future__ import annotations

import sys

from syncwatch.cli import supervisor


def main() -> None:
    """Run the command line, under a supervisor where the user's code is run; see docs/adr/0008."""
    if not supervisor.connect_to_supervisor() and supervisor.should_supervise():
        code = supervisor.supervise()
        if code is not None:
            sys.exit(code)
    # typer and rich take 0.2 s to import, which the supervisor does without.
    from syncwatch.cli.app import run_app
    from syncwatch.cli.screen import exit_code_of
    from syncwatch.cli.streams import kept

    with kept(for_good=True):
        code = exit_code_of(run_app)
        supervisor.send_exit_code(code)
    sys.exit(code)
