"""Makes lines for a terminal into text: of one width, with or without colour, in Unicode or ASCII."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable

from rich.console import Console, RenderableType
from rich.text import Text

from syncwatch.report import text


class _AsciiStream(io.StringIO):
    """Says that it holds ASCII, so that what is laid out for it is spelled out first."""

    encoding = "ascii"


def is_ascii(console: Console) -> bool:
    """Return whether `console` is that of a page without Unicode."""
    return console.encoding == _AsciiStream.encoding


def spelled(words: Text, console: Console) -> Text:
    """Return `words` as `console` can show them: spelled out they are longer, and have to be laid out so."""
    if words.plain.isascii() or not is_ascii(console):
        return words
    return Text.assemble(*((text.in_ascii(part.text), part.style or "") for part in words.render(console)))


class Page:
    """A terminal of `width` columns."""

    def __init__(self, width: int, *, color: bool, unicode: bool) -> None:
        self._width = max(width, 40)
        self._color = color
        self._unicode = unicode

    def render(self, parts: Callable[[Console], Iterable[RenderableType]]) -> str:
        """Return the text of what `parts` yields for the console it is given."""
        stream = io.StringIO() if self._unicode else _AsciiStream()
        console = Console(
            file=stream,
            width=self._width,
            color_system="standard" if self._color else None,
            force_terminal=self._color,
            no_color=not self._color,
            legacy_windows=False,
            markup=False,
            emoji=False,
            highlight=False,
        )
        for part in parts(console):
            shown = spelled(part, console) if isinstance(part, Text) else part
            console.print(shown, overflow="fold", crop=False)
        # Rich pads what it wraps; trailing blanks would make golden files and diffs lie.
        rendered = "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"
        if self._unicode:
            return rendered
        return text.in_ascii(rendered)
