"""Answers: what goes to stderr? Sentences, a user's own traceback, and progress when someone is looking."""

from __future__ import annotations

import contextlib
import os
import runpy
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from syncwatch.cli.streams import err, settle
from syncwatch.report.text import shown

_OURS = (str(Path(__file__).resolve().parents[1]) + os.sep, runpy.__file__, "<frozen ")


def say(message: str) -> None:
    """Write one sentence about what went wrong; what a terminal would act upon in a name is spelled out."""
    console = err().console(soft_wrap=True, highlight=False)
    console.print(Text("error: ", style="bold red") + Text(shown(message)))


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
