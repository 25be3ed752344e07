"""Answers: what does a person read? The findings of each variant, then the variants side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import ClassVar

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from syncwatch.model.finding import Comparison, Report, StepTime, Variant
from syncwatch.model.session import DeviceKind
from syncwatch.report import text
from syncwatch.report.finding import block, hanging
from syncwatch.report.page import Page

_ROWS: tuple[tuple[str, bool, Callable[[Variant], str]], ...] = (
    ("syncs", False, lambda variant: text.count(variant.per_step.syncs)),
    ("D2H copies", False, lambda variant: text.count(variant.per_step.d2h_copies)),
    ("D2H bytes", False, lambda variant: text.size(variant.per_step.d2h_bytes)),
    ("H2D copies", False, lambda variant: text.count(variant.per_step.h2d_copies)),
    ("H2D bytes", False, lambda variant: text.size(variant.per_step.h2d_bytes)),
    ("host blocked", True, lambda variant: text.micros(variant.per_step.host_blocked_us)),
    ("GPU idle", True, lambda variant: text.micros(variant.per_step.gpu_idle_us)),
    ("step time", True, lambda variant: text.NOT_MEASURED if variant.step_ms is None else _ms(variant.step_ms.median)),
)
"""Label, whether it is a time, and the figure a step."""


class TerminalReporter:
    """Renders a report for a terminal of `width` columns."""

    suffix: ClassVar[str] = ".txt"

    def __init__(self, width: int = 100, *, color: bool = False, unicode: bool = True, max_sites: int = 8) -> None:
        """Set up.

        Args:
            width: columns of the terminal.
            color: whether it shows colours; false where the output is piped or NO_COLOR is set.
            unicode: whether it shows more than ASCII.
            max_sites: findings shown of each variant; the rest is counted.
        """
        self._page = Page(width, color=color, unicode=unicode)
        self._max_sites = max_sites

    def render(self, report: Report) -> str:
        """Return the text of `report`."""
        return self._page.render(lambda console: self._parts(report, console))

    def _parts(self, report: Report, console: Console) -> Iterator[RenderableType]:
        modelled = report.device is DeviceKind.VIRTUAL
        if not report.complete:
            yield from _partial(report, console)
        yield from head(report)
        for variant in report.variants:
            yield ""
            yield from self._variant(variant, console, modelled=modelled)
        if report.variants:
            yield ""
            yield _table(report, modelled=modelled)
        if report.comparison is not None:
            yield ""
            yield from hanging(Text(), _conclusion(report.comparison), console)
        yield ""
        for sentence in _coverage(report):
            yield from hanging(Text(), Text(sentence, "dim"), console)

    def _variant(self, variant: Variant, console: Console, *, modelled: bool) -> Iterator[RenderableType]:
        yield _headline(variant)
        for site in variant.sites[: self._max_sites]:
            yield ""
            yield from block(site, console, modelled=modelled)
        rest = len(variant.sites) - self._max_sites
        if rest > 0:
            yield ""
            yield Text(f"and {text.plural(rest, 'more line')}; `--format json` has them all")
        for note in variant.notes:
            yield from hanging(Text("note: ", "dim"), Text(text.shown(note), "dim"), console)


def _partial(report: Report, console: Console) -> Iterator[Text]:
    reasons = " ".join(text.shown(reason) for reason in report.missing)
    warning = Text(f"The run ended early, so these figures are partial. {reasons}".rstrip(), "bold yellow")
    yield from hanging(Text("warning: ", "bold yellow"), warning, console)
    yield Text()


def head(report: Report) -> Iterator[Text]:
    """Yield what was run, where and with which versions."""
    environment = report.environment
    gpu = text.shown(environment.gpu) if environment.gpu else ""
    if report.device is DeviceKind.VIRTUAL:
        where = "the virtual CUDA device" + (f", modelled on {gpu.removesuffix(' (virtual)')}" if gpu else "")
    else:
        where = gpu or "CUDA"
    yield Text.assemble((text.crop_right(text.shown(report.target), 400), "bold"), f" on {where}")
    facts = [f"{text.shown(name)} {text.shown(value)}" for name, value in (report.parameters or {}).items()]
    if facts:
        yield Text(" · ".join(facts), "dim")
    versions = [f"torch {text.shown(environment.torch)}"]
    versions += [f"triton {text.shown(environment.triton)}"] if environment.triton else []
    versions += [f"driver {text.shown(environment.driver)}"] if environment.driver else []
    versions.append(f"Python {text.shown(environment.python)}")
    yield Text(" · ".join(versions), "dim")


def _headline(variant: Variant) -> Text:
    syncs = variant.per_step.syncs
    steps = text.plural(variant.steps, "step")
    if not variant.steps:
        said = "no step was measured"
    elif not syncs:
        said = f"no sync in {steps}"
    else:
        asked = f", {text.number(variant.per_step.explicit_syncs)} asked for" if variant.per_step.explicit_syncs else ""
        said = f"{text.plural(syncs, 'sync')} a step{asked} ({steps})"
    colour = "bold red" if syncs > variant.per_step.explicit_syncs else "bold green" if variant.steps else "bold yellow"
    return Text.assemble((text.shown(variant.name), "bold"), ": ", (said, colour))


def _table(report: Report, *, modelled: bool) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False, header_style="bold")
    table.add_column(Text("per step"), overflow="fold")
    for variant in report.variants:
        table.add_column(Text(text.shown(variant.name)), justify="right", overflow="fold")
    for label, is_time, figure in _ROWS:
        mark = " (modelled)" if is_time and modelled else ""
        table.add_row(Text(label + mark), *(_cell(figure(variant)) for variant in report.variants))
    if any(variant.step_ms is not None and variant.step_ms.ci95 for variant in report.variants):
        table.add_row(Text("  95 % interval"), *(_cell(_interval(variant.step_ms)) for variant in report.variants))
    return table


def _cell(figure: str) -> Text:
    return Text(figure, "dim" if figure == text.NOT_MEASURED else "")


def _ms(milliseconds: float) -> str:
    return text.micros(milliseconds * 1e3)


def _interval(time: StepTime | None) -> str:
    if time is None:
        return text.NOT_MEASURED
    return "none" if time.ci95 is None else f"{_ms(time.ci95[0])} to {_ms(time.ci95[1])}"


def _conclusion(comparison: Comparison) -> Text:
    ratio, word = comparison.step_time_ratio, comparison.verdict
    said = f"{text.shown(comparison.candidate)}: "
    if ratio is not None and word.startswith(("faster", "slower")):
        said += f"{max(ratio, 1 / ratio):.3f}x "
    said += word
    if comparison.ci95 is not None:
        low, high = comparison.ci95
        said += f" (step time ratio {ratio:.3f}, 95 % interval {low:.3f} to {high:.3f})"
    good = word.startswith("faster")
    bad = comparison.outputs_equal is False or word.startswith("slower")
    outputs = {True: "outputs equal", False: "outputs differ", None: "outputs not compared"}[comparison.outputs_equal]
    tail = "" if comparison.outputs_equal is False else f" · {outputs}"
    return Text.assemble((said, "bold red" if bad else "bold green" if good else "bold"), tail)


def _coverage(report: Report) -> Iterator[str]:
    coverage = report.coverage
    who = "CUPTI" if "cupti" in coverage.sensors else "The sensors"
    who = "The virtual device" if report.device is DeviceKind.VIRTUAL else who
    lines = f"{coverage.attributed} {'has' if coverage.attributed == 1 else 'have'}"
    if coverage.seen is None:
        yield f"Coverage: nothing counted the synchronizations independently; {lines} a line."
    else:
        yield (f"Coverage: {who} saw {text.plural(coverage.seen, 'synchronization')}; {lines} a line.")
    if coverage.sensors:
        yield f"Sensors: {', '.join(map(text.shown, coverage.sensors))}."
    if coverage.blind_to:
        yield f"Not watched: {'; '.join(map(text.shown, coverage.blind_to))}."
    apart = [
        f"{text.shown(variant.name)} {text.number(figure)} {what}"
        for variant in report.variants
        for figure, what in ((variant.warmup_syncs, "in warm-up"), (variant.pacing_waits, "by the runner's own pacing"))
        if figure
    ]
    if apart:
        yield f"Counted apart: {', '.join(apart)}."
