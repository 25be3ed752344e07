"""Shows one finding on a terminal, as a compiler prints it: code, line, carets, cost, help."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from syncwatch.model.report import NO_LINE, Site
from syncwatch.report import text
from syncwatch.report.gain import StepLength, gain_parts, gain_sentence, percent
from syncwatch.report.text import is_ascii, spelled

_MIN_CODE = 12
_SAME_US = 1.0
"""Less than one launch takes: streams that are no further apart were idle together."""


def block(
    site: Site, console: Console, step: StepLength, *, helped: bool = False, outside: bool = False
) -> Iterator[Text]:
    """Yield the lines of one finding.

    Args:
        site: what was found.
        console: whose width the lines keep.
        step: what its gain is held against, and whether the durations come from the virtual clock.
        helped: whether another block has already said what helps.
        outside: whether it waits outside every step, so that its figures are those of the whole run.
    """
    colour = "yellow" if site.explicit else "red"
    gutter = len(str(site.line)) if site.line else 1
    asked = " (asked for)" if site.explicit else ""
    yield from hanging(Text.assemble((site.code, f"bold {colour}"), " "), Text(site.title + asked, "bold"), console)
    place = place_of(site, console.width - gutter - 4)
    yield from hanging(Text.assemble(" " * gutter, ("--> ", "blue")), Text(place, "cyan"), console)
    if site.source:
        yield from _code(site, gutter, console, colour)
    bar = Text.assemble(" " * gutter, (" = ", "blue"))
    first = bar + Text("cost: ")
    gain = [] if outside else gain_parts(site, step)
    if gain:
        yield from filled(first, gain, console, modelled=step.modelled and site.gain_us is not None)
        first = Text(" " * cell_len(first.plain))
    yield from filled(first, _cost(site, outside=outside), console, modelled=step.modelled)
    if site.allowed is not None:
        yield from hanging(bar + Text("allowed: ", "green"), Text(text.shown(site.allowed)), console)
    if not helped:
        yield from hanging(bar + Text("help: ", "green"), Text(site.hint), console)


def hanging(first: Text, body: Text, console: Console, *, deeper: int = 0) -> Iterator[Text]:
    """Yield `body` wrapped behind `first`, the following lines indented to match, or by `deeper` cells more."""
    first, body = spelled(first, console), spelled(body, console)
    indent = cell_len(first.plain)
    room = max(console.width - indent - deeper, _MIN_CODE)
    for number, line in enumerate(body.wrap(console, room, overflow="fold")):
        line.rstrip()
        yield (first if number == 0 else Text(" " * (indent + deeper))) + line


_TIME = re.compile(r"\d (ns|us|µs|ms|s)\b")


def filled(first: Text, parts: Sequence[str], console: Console, *, modelled: bool) -> Iterator[Text]:
    """Yield `parts` behind `first`, as many to a line as fit, so that no figure is torn from its name.

    Of `modelled` ones each line with a time has its mark.
    """
    indent, mark = cell_len(first.plain), " (modelled)" if modelled else ""
    lines = [Text(parts[0])]
    for part in parts[1:]:
        if indent + cell_len(f"{lines[-1].plain} · {part}{mark}") <= console.width:
            lines[-1].append(f" · {part}")
        else:
            lines.append(Text(part))
    for line in lines:
        if _TIME.search(line.plain):
            line.append(mark, "dim")
    for number, line in enumerate(lines):
        yield from hanging(first if number == 0 else Text(" " * indent), line, console)


def caret_span(source: str, expression: str | None) -> tuple[int, int]:
    """Return where in `source` the carets go: the expression, its part on this line, or the whole line."""
    if expression:
        start = source.find(expression)
        if start >= 0:
            return start, start + len(expression)
        for length in range(min(len(expression), len(source)), 0, -1):
            if source.endswith(expression[:length]):
                return len(source) - length, len(source)
    return 0, len(source)


def place_of(site: Site, cells: int) -> str:
    """Return file, line and function of `site`, for lines of `cells`."""
    if site.file == NO_LINE:
        return f"no Python line; seen as {text.crop_right(text.shown(site.waiter), 160)}"
    # Two lines of path are enough to find any file; a longer one keeps its end.
    file = text.crop_left(text.shown(site.file), max(2 * cells, 60))
    function = text.crop_right(text.shown(site.function), 80)
    if site.exact_line:
        return f"{file}:{site.line} in {function}" if function else f"{file}:{site.line}"
    return f"in function {function} (defined at {file}:{site.line})"


def _code(site: Site, gutter: int, console: Console, colour: str) -> Iterator[Text]:
    start, end = caret_span(site.source, site.expression)
    parts = [text.shown(part) for part in (site.source[:start], site.source[start:end], site.source[end:])]
    before, marked, after = map(text.in_ascii, parts) if is_ascii(console) else parts
    room = max(console.width - gutter - 3, _MIN_CODE)
    if cell_len(before) + min(cell_len(marked), room) > room:
        before = text.crop_left(before, max(room - cell_len(marked), room // 3))
    marked = text.crop_right(marked, room - cell_len(before))
    after = text.crop_right(after, room - cell_len(before + marked)) if cell_len(before + marked) < room else ""
    line = Text.assemble((f"{site.line} | ", "blue"), before, (marked, "bold"), after)
    carets = Text.assemble(
        (f"{' ' * gutter} | ", "blue"), " " * cell_len(before), ("^" * cell_len(marked), f"bold {colour}")
    )
    yield Text(f"{' ' * gutter} |", "blue")
    yield line
    yield carets


def calls_of(site: Site, *, outside: bool) -> str:
    """Return how often `site` waits: a step, or outside every step in the run."""
    return f"{text.plural(site.calls_per_step, 'call')} {'in the run' if outside else 'a step'}"


def cost_sentence(site: Site, step: StepLength, *, outside: bool) -> str:
    """Return what `site` costs in one line, without a full stop; outside every step nothing is said of a gain."""
    described = f"{calls_of(site, outside=outside)}, host blocked {text.micros(site.host_blocked_us)}{step.mark}"
    gain = "" if outside else gain_sentence(site, step)
    return f"{gain}; {described}" if gain else described


def _cost(site: Site, *, outside: bool) -> list[str]:
    parts = [calls_of(site, outside=outside) + ("" if outside else _regularity(site))]
    if site.bytes:
        parts.append(f"{text.size(site.bytes)} copied")
    parts += [
        f"host blocked {text.micros(site.host_blocked_us)}{_split(site)}",
        f"GPU idle {text.micros(site.gpu_idle_us)}{_share(site)}",
    ]
    if _other_streams_worked(site):
        parts.append(f"its stream idle {text.micros(site.stream_idle_us)}")
    return parts


def _regularity(site: Site) -> str:
    if site.structural:
        return ", in every step"
    # One measured step cannot tell.
    return ", not in every step" if site.calls > site.calls_per_step else ""


def _split(site: Site) -> str:
    if not site.host_blocked_us or site.drain_wait_us is None or site.call_overhead_us is None:
        return ""
    return f" (drain wait {text.micros(site.drain_wait_us)}, call overhead {text.micros(site.call_overhead_us)})"


def _share(site: Site) -> str:
    if not site.step_share:
        return ""
    return f" ({percent(site.step_share)} of its span)"


def _other_streams_worked(site: Site) -> bool:
    if site.gpu_idle_us is None or site.stream_idle_us is None:
        return False
    return abs(site.stream_idle_us - site.gpu_idle_us) > _SAME_US
