"""Answers: what goes to stderr? Sentences, a user's own traceback, and progress when someone is looking."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from syncwatch.report.text import shown

_OURS = str(Path(__file__).resolve().parents[1])


def say(message: str) -> None:
    """Write one sentence about what went wrong; what a terminal would act upon in a name is spelled out."""
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print(Text("error: ", style="bold red") + Text(shown(message)))


def print_user_traceback(error: BaseException) -> None:
    """Write the traceback as the user's own run would have shown it: without the frames that started it."""
    trace = error.__traceback__
    while trace is not None and _started_it(trace):
        trace = trace.tb_next
    lines = traceback.format_exception(type(error), error, trace)
    sys.stderr.write("".join(lines))


def _started_it(trace: TracebackType) -> bool:
    filename = trace.tb_frame.f_code.co_filename
    return filename.startswith((_OURS, "<frozen ")) or Path(filename).name == "runpy.py"


@contextlib.contextmanager
def progress(title: str) -> Iterator[Callable[[str, int, int], None]]:
    """Show progress on stderr while the block runs; silent where stderr is no terminal.

    Yields:
        A function of the phase, the steps done and the steps to do.
    """
    console = Console(stderr=True)
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


class OwnStreams:
    """Keeps stdout and stderr while a target runs, which may replace, redirect or close them.

    Args:
        only_report: whether what the target prints goes to stderr, so that stdout holds the report and nothing else.
    """

    def __init__(self, *, only_report: bool) -> None:
        self._only_report = only_report
        self._kept: list[tuple[str, TextIO | None, int, _Copy]] = []

    def __enter__(self) -> OwnStreams:
        self._kept = [(name, getattr(sys, name), number, _Copy(number)) for name, number in _STREAMS]
        if self._only_report:
            sys.stdout.flush()
            os.dup2(2, 1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.give_back()

    def give_back(self) -> None:
        """Put both back as they were; a second time this does nothing."""
        kept, self._kept = self._kept, []
        for name, stream, number, copy in kept:
            _flush(getattr(sys, name))
            _flush(stream)
            if copy.give_back(number) and stream is not None and stream.closed:
                stream = open(number, "w", errors="backslashreplace", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)


_STREAMS = (("stdout", 1), ("stderr", 2))


class _Copy:
    """A second number of an open file, kept while the first may be given to another."""

    def __init__(self, number: int) -> None:
        self._number: int | None = None
        with contextlib.suppress(OSError):
            self._number = os.dup(number)
            self._file = os.fstat(self._number)

    def give_back(self, number: int) -> bool:
        """Let `number` be that file again; False where it was not open, or the target has closed the second number."""
        if self._number is None:
            return False
        try:
            if not os.path.samestat(os.fstat(self._number), self._file):
                return False
            os.dup2(self._number, number)
            os.close(self._number)
        except OSError:
            return False
        return True


def _flush(stream: TextIO | None) -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        if stream is not None:
            stream.flush()
