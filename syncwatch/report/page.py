"""Answers: how do lines for a terminal become text? Of one width, with or without colour, in Unicode or ASCII."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable

from rich.console import Console, RenderableType

_ASCII = str.maketrans({"·": "-", "µ": "u", "─": "-", "…": "~"})


class Page:
    """A terminal of `width` columns."""

    def __init__(self, width: int, *, color: bool, unicode: bool) -> None:
        self._width = max(width, 40)
        self._color = color
        self._unicode = unicode

    def render(self, parts: Callable[[Console], Iterable[RenderableType]]) -> str:
        """Return the text of what `parts` yields for the console it is given."""
        stream = io.StringIO()
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
            console.print(part, overflow="fold", crop=False)
        # Rich pads what it wraps; trailing blanks would make golden files and diffs lie.
        rendered = "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"
        if self._unicode:
            return rendered
        return rendered.translate(_ASCII).encode("ascii", "backslashreplace").decode("ascii")
