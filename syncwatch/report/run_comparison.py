"""What a person reads of two runs: lines that came, went or changed, then the steps side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from rich.console import Console, RenderableType
from rich.text import Text
from typing_extensions import assert_never

from syncwatch.model.report import NO_LINE
from syncwatch.model.run_comparison import (
    Change,
    LineComparison,
    LineFigures,
    RunComparison,
    RunFacts,
    StepFigures,
    VariantComparison,
)
from syncwatch.model.session import DeviceKind
from syncwatch.report import text
from syncwatch.report.gain import gain_cell, step_length
from syncwatch.report.site import filled, hanging
from syncwatch.report.table import Column, counts
from syncwatch.report.terminal import comparison_sentence, device_words, note_lines, side_by_side
from syncwatch.report.text import Page

_WORD = max(len(change.value) for change in (Change.GONE, Change.NEW, Change.CHANGED))


class RunComparisonReporter:
    """Renders a comparison for a terminal of `width` columns."""

    def __init__(self, width: int = 100, *, color: bool = False, unicode: bool = True, max_lines: int = 8) -> None:
        """Set up.

        Args:
            width: columns of the terminal.
            color: whether it shows colours.
            unicode: whether it shows more than ASCII.
            max_lines: lines shown that are gone, and as many new and changed ones; the rest is counted.
        """
        self._page = Page(width, color=color, unicode=unicode)
        self._max_lines = max_lines

    def render(self, comparison: RunComparison) -> str:
        """Return the text of `comparison`."""
        return self._page.render(lambda console: self._parts(comparison, console))

    def _parts(self, comparison: RunComparison, console: Console) -> Iterator[RenderableType]:
        yield from _run("before: ", comparison.before, console)
        yield from _run("after:  ", comparison.after, console)
        for sentence in comparison.notes:
            yield from note_lines(sentence, console)
        for variant in comparison.variants:
            yield ""
            yield from hanging(Text(), _headline(variant), console)
            for change in (Change.GONE, Change.NEW, Change.CHANGED):
                yield from self._lines(variant, change, comparison, console)
            yield ""
            yield from _steps(variant, comparison, console)
            yield ""
            yield from hanging(Text(), comparison_sentence(replace(variant.comparison, candidate="after")), console)
            if comparison.same_clock:
                yield from _gains(variant, console, modelled=_modelled(comparison))

    def _lines(
        self, variant: VariantComparison, change: Change, comparison: RunComparison, console: Console
    ) -> Iterator[RenderableType]:
        found = [line for line in variant.lines if line.change is change]
        for line in found[: self._max_lines]:
            yield ""
            yield from _block(line, variant, comparison, console)
        rest = len(found) - self._max_lines
        if rest > 0:
            yield ""
            yield Text(f"and {text.plural(rest, 'more line')} {change.value}; `--format json` has them all")


def _run(label: str, run: RunFacts, console: Console) -> Iterator[Text]:
    target = Text.assemble(
        (text.crop_left(text.shown(run.file), 200), "bold"),
        f": {text.crop_right(text.shown(run.target), 400)} on {device_words(run.device, run.environment)}",
    )
    yield from hanging(Text(label), target, console)


def _headline(variant: VariantComparison) -> Text:
    before, after = variant.before.variant, variant.after.variant
    name = text.shown(before) if before == after else f"{text.shown(before)} against {text.shown(after)}"
    tally = Counter(line.change for line in variant.lines)
    said = ", ".join(f"{text.number(tally[change])} {change.value}" for change in Change if tally[change])
    lines = f"of {text.plural(len(variant.lines), 'line')} {said}" if said else "no line waits in either run"
    return Text.assemble((name, "bold"), f": {lines}")


def _block(
    line: LineComparison, variant: VariantComparison, comparison: RunComparison, console: Console
) -> Iterator[Text]:
    colour = _colour(line.change)
    first = Text.assemble((f"{line.change.value:<{_WORD}} ", f"bold {colour}"), (line.code, "bold"), " ")
    yield from hanging(first, Text(line.title, "bold"), console)
    yield from hanging(Text("  --> ", "blue"), Text(_place(line, console.width - 6), "cyan"), console)
    if line.source:
        yield Text.assemble(("   | ", "blue"), text.crop_right(text.shown(line.source), console.width - 5))
    for label, figures, step in (
        ("before: ", line.before, variant.before),
        ("after:  ", line.after, variant.after),
    ):
        if figures is not None:
            bar = Text.assemble(("   = ", "blue"), label)
            yield from filled(bar, _cost(figures, step, comparison), console, modelled=_modelled(comparison))


def _colour(change: Change) -> str:
    if change is Change.GONE:
        return "green"
    if change is Change.NEW:
        return "red"
    if change is Change.CHANGED:
        return "yellow"
    if change is Change.SAME:
        return "blue"
    assert_never(change)


def _place(line: LineComparison, cells: int) -> str:
    if line.file == NO_LINE:
        return f"no Python line; seen as {text.crop_right(text.shown(line.waiter), 160)}"
    before, after = (None if each is None else _numbers(each) for each in (line.before, line.after))
    number = after or before
    moved = f" (was {before})" if before and after and before != after else ""
    function = text.crop_right(text.shown(line.function), 80)
    place = f"{text.crop_left(text.shown(line.file), max(2 * cells, 60))}:{number}{moved}"
    if not line.exact_line:
        return f"in function {function} (defined at {place})"
    return f"{place} in {function}" if function else place


def _numbers(figures: LineFigures) -> str:
    shown = ", ".join(map(str, figures.lines[:4]))
    return shown if len(figures.lines) <= 4 else f"{shown} and {len(figures.lines) - 4} more"


def _cost(figures: LineFigures, step: StepFigures, comparison: RunComparison) -> list[str]:
    parts = [f"{text.plural(figures.calls_per_step, 'call')} a step"]
    if comparison.same_clock:
        length = step_length(step.replay, modelled=_modelled(comparison))
        parts.insert(0, f"gain {gain_cell(figures.gain_us, length)}")
        parts.append(f"host blocked {text.micros(figures.host_blocked_us)}")
        parts.append(f"GPU idle {text.micros(figures.gpu_idle_us)}")
    return parts


def _gains(variant: VariantComparison, console: Console, *, modelled: bool) -> Iterator[Text]:
    """Yield what of the gain without implicit waits is left, beside what became of the step; or why that is not known.

    Nothing where no line waits in either run.
    """
    before, after = variant.before, variant.after
    if not variant.lines:
        return
    for name, step in (("before", before), ("after", after)):
        if step.replay is not None and step.replay.unknown is not None:
            yield from note_lines(f"{name}: {step.replay.unknown}", console)
    was, now = before.per_step.gain_us, after.per_step.gain_us
    if was is None or now is None:
        return
    mark = " (modelled)" if modelled else ""
    gains = f"{text.micros(was)} a step before, and {text.micros(now)} now"
    said = f"Removing the implicit waits was to gain {gains}{_became(variant)}{mark}."
    yield from hanging(Text(), Text(said), console)


def _became(variant: VariantComparison) -> str:
    """Return what became of the step time; nothing where it is not known."""
    before, after, verdict = variant.before.step_ms, variant.after.step_ms, variant.comparison.verdict
    if before is None or after is None:
        return ""
    if not verdict.startswith(("faster", "slower")):
        return "; of the step time no difference is shown"
    moved = f"by {text.millis(abs(before.median - after.median))}"
    return f"; the step time {'fell' if after.median < before.median else 'rose'} {moved}"


def _steps(variant: VariantComparison, comparison: RunComparison, console: Console) -> Iterator[RenderableType]:
    columns = [
        Column(name, step.per_step, step.step_ms, gain_ci_us=None if step.replay is None else step.replay.gain_ci_us)
        for name, step in (("before", variant.before), ("after", variant.after))
    ]
    if comparison.same_clock:
        yield from side_by_side(columns, console, modelled=_modelled(comparison))
    else:
        yield counts(columns, width=console.width)


def _modelled(comparison: RunComparison) -> bool:
    return comparison.same_clock and comparison.before.device is DeviceKind.VIRTUAL
