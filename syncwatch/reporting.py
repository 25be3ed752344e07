"""Answers: which formats are there, and what does each make of a report? The command line and the tests share it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import msgspec
from typing_extensions import assert_never

from syncwatch.attribute.causes import CAUSES
from syncwatch.attribute.causes.page import markdown_of
from syncwatch.errors import UsageError
from syncwatch.judge.baseline import fingerprint, key_of
from syncwatch.model.codec import encode, write_bytes
from syncwatch.model.finding import Report
from syncwatch.model.session import Session
from syncwatch.model.verdict import Verdict
from syncwatch.picturing import waits_of
from syncwatch.report.github import GithubReporter
from syncwatch.report.html.reporter import HtmlReporter
from syncwatch.report.json import JsonReporter
from syncwatch.report.junit import JUnitReporter
from syncwatch.report.markdown import MarkdownReporter
from syncwatch.report.sarif import RuleHelp, SarifReporter
from syncwatch.report.terminal import TerminalReporter
from syncwatch.report.verdict import VerdictReporter


class Format(str, Enum):
    """How a report is shown."""

    TERMINAL = "terminal"
    JSON = "json"
    JUNIT = "junit"
    SARIF = "sarif"
    GITHUB = "github"
    MARKDOWN = "markdown"
    HTML = "html"

    @property
    def shares(self) -> bool:
        """Whether other lines may stand before and after it: a log of CI, but no document of its own."""
        return self in (Format.TERMINAL, Format.GITHUB)


_STDOUT = ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")
"""Names of what the watched code may have closed or replaced when the report is written."""


@dataclass(frozen=True, slots=True)
class Output:
    """A format, and the file it goes to; None for stdout."""

    form: Format
    path: Path | None = None


@dataclass(frozen=True, slots=True)
class Screen:
    """What stdout can show."""

    width: int = 100
    color: bool = False
    unicode: bool = True


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


def rendered(
    form: Format,
    report: Report,
    verdict: Verdict | None = None,
    screen: Screen | None = None,
    session: Session | None = None,
) -> str:
    """Return `report` as text.

    Args:
        form: the format.
        report: what was found.
        verdict: what a gate said of it; None where nothing was judged.
        screen: what the terminal's text is made for.
        session: the recording behind `report`, for a format that draws events; None where it was not kept.
    """
    screen = screen or Screen()
    if form is Format.TERMINAL:
        if verdict is not None:
            return VerdictReporter(screen.width, color=screen.color, unicode=screen.unicode).render(report, verdict)
        return TerminalReporter(screen.width, color=screen.color, unicode=screen.unicode).render(report)
    if form is Format.JSON:
        if verdict is not None:
            return encode({**msgspec.to_builtins(report), "verdict": verdict}).decode()
        return JsonReporter().render(report)
    if form is Format.JUNIT:
        return JUnitReporter(verdict).render(report)
    if form is Format.SARIF:
        return SarifReporter(rule_help(), lambda site: fingerprint(key_of(site)), verdict).render(report)
    if form is Format.GITHUB:
        return GithubReporter(verdict).render(report)
    if form is Format.MARKDOWN:
        return MarkdownReporter(verdict).render(report)
    if form is Format.HTML:
        return HtmlReporter(verdict, session, waits_of(session) if session is not None else ()).render(report)
    assert_never(form)


def rule_help() -> dict[str, RuleHelp]:
    """Return the help of every cause, as SARIF shows it."""
    return {
        code: RuleHelp(cause.title, cause.what_it_does, markdown_of(cause), next(iter(cause.references), None))
        for code, cause in CAUSES.items()
    }


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
