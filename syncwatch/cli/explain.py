"""The command `syncwatch explain`: prints why a line waits, and what to write instead."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Annotated, Optional

import typer
from rich.console import RenderableType
from rich.padding import Padding
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from syncwatch.attribute.causes import CAUSES, Cause
from syncwatch.attribute.causes.base import document_of, markdown_of
from syncwatch.cli import completion
from syncwatch.cli.streams import out
from syncwatch.errors import UsageError
from syncwatch.report.text import Page


def explain(
    code: Annotated[
        Optional[str],  # noqa: UP045  # typer evaluates this on Python 3.10
        typer.Argument(
            help="A cause code, such as SW101.",
            show_default="all of them, a line each",
            autocompletion=completion.causes,
        ),
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="The same as Markdown; without a code every page.")] = (
        False
    ),
) -> None:
    """Say what a cause is, why it waits, and what to write instead.

    Examples: syncwatch explain; syncwatch explain SW101.
    """
    cause = None if code is None else _known(code)
    if markdown:
        out().write(document_of(CAUSES.values()) if cause is None else markdown_of(cause, level=1))
        return
    screen = out().screen
    page = Page(screen.width, color=screen.color, unicode=True)
    if cause is None:
        out().write(page.render(lambda _: [_list()]))
        return
    # References are not wrapped, so that they can be copied.
    references = "".join(f"  {reference}\n" for reference in cause.references)
    out().write(page.render(lambda _: _page(cause)) + references)


def _known(code: str) -> Cause:
    wanted = code.strip().upper()
    if wanted not in CAUSES:
        near = difflib.get_close_matches(wanted, CAUSES, n=1, cutoff=0.0)[0]
        raise UsageError(
            f"There is no cause {code!r}. The nearest is {near}: {CAUSES[near].title}. `syncwatch explain` lists all."
        )
    return CAUSES[wanted]


def _list() -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for cause in CAUSES.values():
        table.add_row(cause.code, Text(cause.title))
    return table


def _page(cause: Cause) -> Iterator[RenderableType]:
    yield Text.assemble((cause.code, "bold red"), " ", (cause.title, "bold"))
    yield Padding(Text(cause.hint[0].upper() + cause.hint[1:]), (1, 0))
    for heading, words in (("What it does", cause.what_it_does), ("Why it waits", cause.why_it_waits)):
        yield Text(heading, "bold")
        yield Padding(Text(words), (0, 0, 1, 2))
    for heading, source in (("Example", cause.example), ("Use instead", cause.use_instead)):
        yield Text(heading, "bold")
        yield Padding(
            Syntax(source, "python", theme="ansi_dark", background_color="default", word_wrap=True), (0, 0, 1, 2)
        )
    if cause.references:
        yield Text("References", "bold")
