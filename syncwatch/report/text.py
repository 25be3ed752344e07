"""Makes figures, foreign names and lines for a terminal into text that nothing can misread."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator

from rich.cells import cell_len, set_cell_size
from rich.console import Console, RenderableType
from rich.text import Text

from syncwatch.model.session import Coverage

NOT_MEASURED = "not measured"
ELLIPSIS = "…"
_ASCII = str.maketrans({"·": "-", "µ": "u", "─": "-", ELLIPSIS: "~"})


def shown(text: str) -> str:
    """Return `text` with everything that a terminal would act upon spelled out, such as escapes and bidi marks."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def in_ascii(text: str) -> str:
    """Return `text` with everything that is not ASCII replaced or spelled out."""
    return text if text.isascii() else text.translate(_ASCII).encode("ascii", "backslashreplace").decode("ascii")


def plural(count: float, noun: str) -> str:
    """Return `3 copies` as `number(3)` and the noun in its number."""
    if count == 1:
        return f"{number(count)} {noun}"
    ending_in_y = noun.endswith("y") and noun[-2:-1] not in "aeiou"
    return f"{number(count)} {noun[:-1]}ies" if ending_in_y else f"{number(count)} {noun}s"


def number(value: float) -> str:
    """Return a count a step: whole where it is whole, else with two digits."""
    return f"{value:,.0f}" if value == round(value) else f"{value:,.2f}"


def micros(value: float | None) -> str:
    """Return a duration given in microseconds, three digits."""
    if value is None:
        return NOT_MEASURED
    if value < 0:
        return f"-{micros(-value)}"
    if value >= 999_500:
        return f"{_digits(value / 1e6)} s"
    if value >= 999.5:
        return f"{_digits(value / 1e3)} ms"
    return f"{_digits(value)} µs"


def millis(value: float) -> str:
    """Return a duration given in milliseconds, three digits."""
    return micros(1e3 * value)


def span(low: float, high: float) -> str:
    """Return two durations given in microseconds, as `4.01 to 4.02 ms`; the unit once where they share it."""
    first, last = micros(low), micros(high)
    value, _, unit = first.rpartition(" ")
    return f"{value} to {last}" if last.endswith(f" {unit}") else f"{first} to {last}"


def size(value: float | None) -> str:
    """Return a number of bytes in binary units."""
    if value is None:
        return NOT_MEASURED
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            whole = unit == "B" and value == round(value)
            return f"{number(value) if whole else _digits(value)} {unit}"
        value /= 1024
    return f"{_digits(value)} GiB"


def count(value: float | None) -> str:
    """Return a count a step, or that it was not measured."""
    return NOT_MEASURED if value is None else number(value)


def crop_left(text: str, cells: int) -> str:
    """Return the end of `text` that fits `cells`: of a path, the part that tells."""
    if cell_len(text) <= cells:
        return text
    kept = set_cell_size(text[::-1], cells - 1).rstrip()[::-1] if cells > 1 else ""
    # An accent that lost its letter would sit on the ellipsis.
    return ELLIPSIS + kept[next((place for place, mark in enumerate(kept) if cell_len(mark)), 0) :]


def crop_right(text: str, cells: int) -> str:
    """Return the beginning of `text` that fits `cells`."""
    if cell_len(text) <= cells:
        return text
    return set_cell_size(text, cells - 1).rstrip() + ELLIPSIS if cells > 1 else ELLIPSIS


def _digits(value: float) -> str:
    """Return three significant digits without an exponent."""
    if value == 0:
        return "0"
    decimals = 0 if value >= 99.95 else 1 if value >= 9.995 else 2
    return f"{value:,.{decimals}f}"


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
    return Text.assemble(*((in_ascii(part.text), part.style or "") for part in words.render(console)))


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
        return in_ascii(rendered)


def sentence(phrase: str) -> str:
    """Return `phrase` with a capital letter and a full stop."""
    return f"{phrase[:1].upper()}{phrase[1:]}."


def joined(coverage: Coverage) -> Iterator[str]:
    """Yield how far the driver's calls, CUPTI's records and torch's warnings tell the same, a phrase each."""
    joins = coverage.joins
    if joins is not None:
        alone = [
            f"{plural(count, what)} without {other}"
            for count, what, other in (
                (joins.calls_alone, "call", "a record"),
                (joins.records_alone, "record", "a call"),
            )
            if count
        ]
        if joins.lost:
            alone.append(f"{plural(joins.lost, 'record')} lost by CUPTI")
        said = ", ".join(alone) or "nothing is left over on either side"
        yield f"{number(joins.joined)} of {plural(joins.calls, 'call')} joined to their records by CUPTI's id; {said}"
    if coverage.warned:
        unseen = coverage.warned_unseen
        of_them = "each was seen by CUPTI" if not unseen else f"CUPTI did not see {number(unseen)} of them"
        yield f"torch's sync debug mode warned of {plural(coverage.warned, 'wait')}; {of_them}"
