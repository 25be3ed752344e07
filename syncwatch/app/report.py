"""Show a report in every format that was asked for, each on stdout or in a file of its own, and keep the run."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec

from syncwatch.errors import UsageError
from syncwatch.model.analysis import Analysis
from syncwatch.model.codec import write_bytes, write_json
from syncwatch.model.verdict import Verdict
from syncwatch.pipeline import analysed, rendered
from syncwatch.report.formats import Format, Screen
from syncwatch.traces.opening import open_session

_STDOUT = ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")
"""Names of what the watched code may have closed or replaced when the report is written."""


@dataclass(frozen=True, slots=True)
class Output:
    """A format, and the file it goes to; None for stdout."""

    form: Format
    path: Path | None = None


def output_of(words: str) -> Output:
    """Return what `sarif` or `sarif=out.sarif` asks for.

    Raises:
        UsageError: if there is no such format, or the file has no name.
    """
    name, named, path = words.partition("=")
    known = [form.value for form in Format]
    if name not in known:
        near = difflib.get_close_matches(name.lower(), known, n=1)
        meant = f" Did you mean {near[0]}?" if near else ""
        raise UsageError(f"There is no format {name!r}.{meant} Choose from {', '.join(known)}.")
    if named and not path:
        raise UsageError(f"--format {words} names no file. Write it as --format {name}=FILE, or leave out the `=`.")
    return Output(Format(name), Path(path) if named and path not in _STDOUT else None)


def outputs_of(asked: Iterable[str]) -> tuple[Output, ...]:
    """Return what is asked for; the terminal's text where nothing else goes to stdout.

    Raises:
        UsageError: as `output_of`, and if two documents would share stdout or a file.
    """
    outputs = tuple(dict.fromkeys(output_of(words) for words in asked))
    on_screen = [output.form for output in outputs if output.path is None]
    alone = next((form for form in on_screen if not form.shares), None)
    if alone is not None and len(on_screen) > 1:
        raise UsageError(
            f"{alone.value} has to be alone on stdout. Give it a file, such as --format {alone.value}=syncwatch.out."
        )
    paths = [output.path for output in outputs if output.path is not None]
    if len(set(paths)) < len(paths):
        raise UsageError("Two formats would be written to one file. Give each its own.")
    return outputs if on_screen else (Output(Format.TERMINAL), *outputs)


def write_text(words: str, path: Path) -> None:
    """Write `words` to `path` whole or not at all; to what is no plain file, such as a pipe, straight.

    Raises:
        UsageError: if it cannot be written.
    """
    content = words.encode("utf-8", errors="replace")
    with writing(path):
        if path.is_symlink() or (path.exists() and not path.is_file()):
            path.write_bytes(content)
        else:
            write_bytes(content, path)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Make the folder of `path` again where the watched code has removed it, and say in a sentence what else is wrong.

    Raises:
        UsageError: if the file cannot be written.
    """
    try:
        if not path.parent.exists():
            path.parent.mkdir(parents=True)
        yield
    except OSError as error:
        raise UsageError(f"Cannot write {path}: {error.strerror}. Give a file that you may write to.") from error


class Stdout(Protocol):
    """Where what has no file of its own goes."""

    @property
    def screen(self) -> Screen:
        """What it shows."""

    def write(self, text: str) -> object:
        """Write `text` at once.

        Raises:
            UsageError: if it cannot be written.
        """


def open_run(path: Path, step_range: str | None) -> Analysis:
    """Return what a saved run or a trace shows.

    Raises:
        SyncwatchError: as `open_session` does.
    """
    return analysed(open_session(path, step_range))


def show(
    outputs: Iterable[Output], analysis: Analysis, verdict: Verdict | None = None, stdout: Stdout | None = None
) -> None:
    """Write the report of `analysis`, or the verdict on it, in every format that was asked for.

    Args:
        outputs: what was asked for.
        analysis: what was found.
        verdict: what a gate said of it; None where nothing was judged.
        stdout: for what has no file; what needs it is left out where there is none.

    Raises:
        UsageError: if a file could not be written, once all others are.
    """
    refused: list[UsageError] = []
    screen = Screen() if stdout is None else stdout.screen
    # What can be shown is shown, also where a folder has vanished meanwhile.
    for output in sorted(outputs, key=lambda each: each.path is None):
        text = rendered(output.form, analysis.report, verdict, screen, analysis)
        try:
            if output.path is not None:
                write_text(text, output.path)
            elif stdout is not None:
                stdout.write(text)
        except UsageError as error:
            refused.append(error)
    if refused:
        raise refused[0]


def show_and_keep(
    outputs: Iterable[Output],
    analysis: Analysis,
    run: Path | None,
    verdict: Verdict | None = None,
    stdout: Stdout | None = None,
) -> None:
    """Write the run file `run` where one is asked for, and show the report of it, or the verdict on it.

    Raises:
        UsageError: if a file could not be written, once all others are.
    """
    refused = None
    if run is not None:
        try:
            with writing(run):
                write_run(analysis, run)
        except UsageError as error:
            refused = error
    show(outputs, analysis, verdict, stdout)
    if refused is not None:
        raise refused


def write_run(analysis: Analysis, path: Path | str) -> None:
    """Write the run file: the JSON report, with the recording it came from under `session`.

    One file serves `jq` and every later command, since any report can be made again from the recording.

    Raises:
        OSError: if the folder cannot be written.
    """
    document: dict[str, Any] = {**msgspec.to_builtins(analysis.report), "session": analysis.session}
    write_json(document, Path(path))
