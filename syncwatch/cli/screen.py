"""What goes to stderr: sentences, a user's own traceback, progress when someone is looking, and every refusal."""

from __future__ import annotations

import contextlib
import os
import runpy
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from rich.text import Text

from syncwatch.cli.streams import err, out, settle
from syncwatch.errors import EXIT_INTERRUPTED, EXIT_NOT_MEASURED, SyncwatchError
from syncwatch.report.text import plural, shown

if TYPE_CHECKING:
    from syncwatch.model.session import Session


_OURS = (str(Path(__file__).resolve().parents[1]) + os.sep, runpy.__file__, "<frozen ")

_MANY = 20_000
"""Fewer events are analysed in less than half a second."""


def print_error(message: str) -> None:
    """Write one sentence about what went wrong; what a terminal would act upon in a name is spelled out."""
    console = err().console(soft_wrap=True, highlight=False)
    console.print(Text("error: ", style="bold red") + Text(shown(message)))


def print_hint(hint: str) -> None:
    """Write under a report what to do next."""
    console = out().console(soft_wrap=True, highlight=False)
    console.print(Text("next: ", style="green") + Text(shown(hint)))


def announce(sentence: str) -> None:
    """Write where a run of one's own code is, on a line of its own; silent where stderr is no terminal.

    Only before the code runs and after it has ended: a line that is kept up to date would mix with what it prints.
    """
    console = err().console(soft_wrap=True, highlight=False)
    if console.is_terminal:
        console.print(Text(shown(sentence), style="dim"))


def announce_analysis(session: Session) -> None:
    """Write that a long recording is analysed now, and how much there is."""
    events = sum(len(each.syncs) + len(each.copies or ()) + len(each.kernels or ()) for each in session.recordings)
    if events >= _MANY:
        steps = sum(len(each.steps) for each in session.recordings)
        seen = f"{plural(steps, 'step')}, " if steps else ""
        waits = sum(len(each.syncs) for each in session.recordings)
        announce(f"{seen}{plural(waits, 'wait')}; analysing {events:,} events ...")


def print_user_traceback(error: BaseException) -> None:
    """Write the traceback as the user's own run would have shown it: without the frames that started it."""
    trace = error.__traceback__
    while trace is not None and _started_it(trace):
        trace = trace.tb_next
    lines = traceback.format_exception(type(error), error, trace)
    settle()
    err().write("".join(lines))


def _started_it(trace: TracebackType) -> bool:
    return trace.tb_frame.f_code.co_filename.startswith(_OURS)


@contextlib.contextmanager
def progress(title: str) -> Iterator[Callable[[str, int, int], None]]:
    """Show progress on stderr while the block runs; silent where stderr is no terminal.

    Yields:
        A function of the phase, the steps done and the steps to do.
    """
    # Here, since every command would pay for the import.
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = err().console()
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None)

        def advance(phase: str, done: int, total: int) -> None:
            bar.update(task, description=f"{title}: {phase}", completed=done, total=total or None)

        yield advance


def exit_code_of(work: Callable[[], int]) -> int:
    """Return the exit code of `work`; every refusal becomes a sentence on stderr and its exit code."""
    try:
        return work()
    except SyncwatchError as error:
        print_error(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        print_error("Interrupted.")
        return EXIT_INTERRUPTED
    except Exception:
        # Python would end with 1, which here means "over policy".
        err().write(traceback.format_exc())
        print_error("This is a fault of syncwatch, and nothing was judged. Please report it with the lines above.")
        return EXIT_NOT_MEASURED
