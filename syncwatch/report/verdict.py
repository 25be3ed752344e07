"""What a person reads of a verdict: each failing line as a compiler prints it, then what else was said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import ClassVar

from rich.console import Console, RenderableType
from rich.text import Text

from syncwatch.model.report import NO_LINE, Report
from syncwatch.model.session import DeviceKind
from syncwatch.model.verdict import Outcome, Ruling, Severity, Verdict
from syncwatch.report import text
from syncwatch.report.gain import StepLength, remarks_of, step_named
from syncwatch.report.site import block, cost_sentence, hanging
from syncwatch.report.terminal import heading, note_lines
from syncwatch.report.text import Page

_COLOURS = {Outcome.CLEAN: "bold green", Outcome.OVER: "bold red", Outcome.UNMEASURED: "bold yellow"}
_NEXT = (
    "keep the value on the GPU, or say at the line why it may wait (`# syncwatch: allow[CODE] reason`), or accept what "
    "is there today with --update-baseline."
)
_NEXT_WITHOUT_LINE = (
    "keep the value on the GPU, or allow it in the policy file by its function or its NVTX range, or accept what is "
    "there today with --update-baseline."
)


class VerdictReporter:
    """Renders a verdict for a terminal of `width` columns; the costs come from the report that was judged."""

    suffix: ClassVar[str] = ".txt"

    def __init__(self, width: int = 100, *, color: bool = False, unicode: bool = True, max_sites: int = 20) -> None:
        """Set up.

        Args:
            width: columns of the terminal.
            color: whether it shows colours.
            unicode: whether it shows more than ASCII.
            max_sites: lines shown of each kind; the rest is counted.
        """
        self._page = Page(width, color=color, unicode=unicode)
        self._max_sites = max_sites

    def render(self, report: Report, verdict: Verdict) -> str:
        """Return the text of `verdict` on `report`."""
        return self._page.render(lambda console: self._parts(report, verdict, console))

    def _parts(self, report: Report, verdict: Verdict, console: Console) -> Iterator[RenderableType]:
        yield from heading(report)
        fails = verdict.of(Severity.FAIL)
        said: set[str] = set()
        for ruling in fails[: self._max_sites]:
            yield ""
            yield from _failure(ruling, console, said, step_named(ruling.variant, report))
        yield from _rest(fails, self._max_sites)
        warnings = verdict.of(Severity.WARN)
        if warnings:
            yield ""
        for ruling in warnings[: self._max_sites]:
            yield from _line("warning: ", "yellow", ruling.message, console)
        yield from _rest(warnings, self._max_sites)
        notes = verdict.of(Severity.NOTE)
        if notes:
            yield ""
        for ruling in notes[: self._max_sites]:
            yield from _line("note: ", "blue", _with_cost(ruling, step_named(ruling.variant, report)), console)
        yield from _rest(notes, self._max_sites)
        yield from _of_the_variants(report, verdict, console)
        if any(ruling.site is not None for ruling in fails):
            yield ""
            yield from hanging(Text("next: ", "green"), Text(_next(fails)), console)
        yield ""
        yield from hanging(Text(), Text(verdict_sentence(report, verdict), _COLOURS[verdict.outcome]), console)


def verdict_sentence(report: Report, verdict: Verdict) -> str:
    """Return the verdict in one sentence, with the device it was reached on."""
    judged = text.crop_right(", ".join(map(text.shown, verdict.variants)), 400) or "nothing"
    where = "the virtual device" if report.device is DeviceKind.VIRTUAL else "CUDA"
    fails = verdict.of(Severity.FAIL)
    if verdict.outcome is Outcome.CLEAN:
        said = "no line waits that may not"
    else:
        counts = Counter(ruling.reason for ruling in fails)
        said = ", ".join(f"{count} {reason.value.replace('-', ' ')}" for reason, count in counts.items())
    return f"{verdict.outcome.value}: {text.crop_right(text.shown(report.target), 400)} ({judged}) on {where}: {said}."


def _next(fails: Sequence[Ruling]) -> str:
    sites = [ruling.site for ruling in fails if ruling.site is not None]
    lines = any(site.exact_line and site.file != NO_LINE for site in sites)
    return _NEXT if lines else _NEXT_WITHOUT_LINE


def _of_the_variants(report: Report, verdict: Verdict, console: Console) -> Iterator[RenderableType]:
    """Yield what a reader should know of the variants that were judged, as `syncwatch run` says it."""
    judged = [variant for variant in report.variants if variant.name in verdict.variants]
    sentences = dict.fromkeys(sentence for variant in judged for sentence in remarks_of(variant))
    if sentences:
        yield ""
    for sentence in sentences:
        yield from note_lines(sentence, console)


def _failure(ruling: Ruling, console: Console, said: set[str], step: StepLength) -> Iterator[Text]:
    """Yield one failure; `said` holds the help given before it, and takes its own."""
    site = ruling.site
    if site is None:
        yield from _line("error: ", "bold red", ruling.message, console)
        return
    gutter = len(str(site.line)) if site.line else 1
    yield from block(site, console, step, helped=site.file == NO_LINE and site.hint in said, outside=ruling.outside)
    said.add(site.hint)
    bar = Text.assemble(" " * gutter, (" = ", "blue"), ("gate: ", "bold red"))
    yield from hanging(bar, Text(text.shown(ruling.why)), console)


def _line(label: str, style: str, message: str, console: Console) -> Iterator[Text]:
    yield from hanging(Text(label, style), Text(text.shown(message)), console)


def _rest(rulings: Sequence[Ruling], limit: int) -> Iterator[Text]:
    if len(rulings) > limit:
        yield Text(f"and {text.number(len(rulings) - limit)} more; `--format json` has them all")


def _with_cost(ruling: Ruling, step: StepLength) -> str:
    if ruling.site is None:
        return ruling.message
    return f"{ruling.message} Cost: {cost_sentence(ruling.site, step, outside=ruling.outside)}."
