"""What a person reads on a terminal: the findings of each variant, then the variants side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar

from rich.console import Console, RenderableType
from rich.text import Text

from syncwatch.model.report import NO_LINE, UNKNOWN, PerStep, RecordingSummary, Report, Site, StepTimeComparison
from syncwatch.model.session import DeviceKind, Environment, RecordedBy
from syncwatch.report import text
from syncwatch.report.ceiling import ceiling
from syncwatch.report.gain import StepLength, remarks_of, step_of
from syncwatch.report.site import block, hanging, place_of
from syncwatch.report.table import Column, column_of, kernel_notes, step_table
from syncwatch.report.text import Page, is_ascii

_MAX_SITES = 8


def only_in_warmup(variant: RecordingSummary, console: Console) -> Iterator[Text]:
    """Yield a line for each site that no measured step has, and how many more there are."""
    yield from _listed("only in warm-up:", variant.warmup_sites, console)


def outside_steps(variant: RecordingSummary, console: Console) -> Iterator[Text]:
    """Yield a line for each site outside every step, which the gate judges by `outside_steps`."""
    yield from _listed("outside every step, in the whole run:", variant.outside_sites, console)


def _listed(heading: str, sites: Sequence[Site], console: Console) -> Iterator[Text]:
    if not sites:
        return
    yield Text(heading)
    for site in sites[:_MAX_SITES]:
        first = Text.assemble("  ", (site.code, "bold"), " ")
        place = place_of(site, console.width - len(site.code) - 3)
        settled = f" (allowed: {text.shown(site.allowed)})" if site.allowed is not None else ""
        asked = " (asked for)" if site.explicit else ""
        yield from hanging(first, Text(f"{place} · {text.plural(site.calls, 'call')}{asked}{settled}"), console)
    rest = len(sites) - _MAX_SITES
    if rest > 0:
        yield Text(f"  and {text.plural(rest, 'more line')}; `--format json` has them all")


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
        yield from heading(report)
        yield from run_warnings(report, console)
        shared = _shared_notes(report)
        for variant in report.variants:
            yield ""
            yield from self._variant(variant, console, step_of(variant, report), elsewhere=shared)
        if report.variants:
            yield ""
            compared = not report.processes
            yield from side_by_side(_columns(report), console, modelled=modelled, compared=compared)
        for sentence in shared:
            yield from note_lines(sentence, console)
        for variant in report.variants:
            if variant.what_if:
                yield ""
                yield from ceiling(variant, console)
        if report.comparison is not None:
            yield ""
            yield from hanging(Text(), comparison_sentence(report.comparison), console)
        yield ""
        for sentence in _coverage(report):
            yield from hanging(Text(), Text(sentence, "dim"), console)

    def _variant(
        self, variant: RecordingSummary, console: Console, step: StepLength, *, elsewhere: Sequence[str]
    ) -> Iterator[RenderableType]:
        yield _headline(variant)
        said: set[str] = set()
        for site in variant.sites[: self._max_sites]:
            yield ""
            yield from block(site, console, step, helped=site.file == NO_LINE and site.hint in said)
            said.add(site.hint)
        rest = len(variant.sites) - self._max_sites
        if rest > 0:
            yield ""
            yield Text(f"and {text.plural(rest, 'more line')}; `--format json` has them all")
        if variant.warmup_sites:
            yield ""
            yield from only_in_warmup(variant, console)
        if variant.outside_sites:
            yield ""
            yield from outside_steps(variant, console)
        for sentence in remarks_of(variant):
            if sentence not in elsewhere:
                yield from note_lines(sentence, console)


def _shared_notes(report: Report) -> tuple[str, ...]:
    """Return what is said of every variant, so that it is printed once."""
    if len(report.variants) < 2:
        return ()
    first, *others = (remarks_of(variant) for variant in report.variants)
    return tuple(sentence for sentence in dict.fromkeys(first) if all(sentence in each for each in others))


def side_by_side(
    columns: Sequence[Column], console: Console, *, modelled: bool, compared: bool = True
) -> Iterator[RenderableType]:
    """Yield the table of `columns` with their times, and what has to be known to read it.

    Args:
        columns: the variants.
        console: whose width the table keeps.
        modelled: whether the durations come from the virtual clock.
        compared: whether the columns are to do the same work; the processes of a trace need not.
    """
    named = [replace(column, name=text.in_ascii(column.name)) for column in columns] if is_ascii(console) else columns
    yield step_table(named, modelled=modelled, width=console.width)
    for sentence in kernel_notes(columns, modelled=modelled) if compared else ():
        yield from note_lines(sentence, console)


def run_warnings(report: Report, console: Console) -> Iterator[Text]:
    """Yield what was not watched, and what is to be known of the whole run."""
    for sentence in report.unwatched:
        said = Text(f"Not watched: {text.shown(sentence)}", "bold yellow")
        yield from hanging(Text("warning: ", "bold yellow"), said, console)
    for sentence in report.notes:
        yield from note_lines(sentence, console)


def note_lines(sentence: str, console: Console) -> Iterator[Text]:
    """Yield one thing that a reader should know beside the figures."""
    yield from hanging(Text("note: ", "dim"), Text(text.shown(sentence), "dim"), console)


def _columns(report: Report) -> tuple[Column, ...]:
    return tuple(map(column_of, report.variants))


def _partial(report: Report, console: Console) -> Iterator[Text]:
    reasons = " ".join(text.shown(reason) for reason in report.missing)
    warning = Text(f"The run ended early, so these figures are partial. {reasons}".rstrip(), "bold yellow")
    yield from hanging(Text("warning: ", "bold yellow"), warning, console)
    yield Text()


def heading(report: Report) -> Iterator[Text]:
    """Yield what was run, where and with which versions."""
    environment = report.environment
    target = text.crop_right(text.shown(report.target), 400)
    yield Text.assemble((target, "bold"), f" on {device_words(report.device, environment)}")
    facts = [f"{text.shown(name)} {text.shown(value)}" for name, value in (report.parameters or {}).items()]
    if facts:
        yield Text(" · ".join(facts), "dim")
    if report.recorder is not RecordedBy.SYNCWATCH:
        yield Text(provenance(report), "dim")
    known = (
        ("torch", environment.torch),
        ("triton", environment.triton),
        ("driver", environment.driver),
        ("Python", environment.python),
    )
    versions = [f"{name} {text.shown(value)}" for name, value in known if value and value != UNKNOWN]
    if versions:
        yield Text(" · ".join(versions), "dim")


def provenance(report: Report) -> str:
    """Return which program recorded, and whether that touched the step times."""
    timed = any(variant.step_ms is not None for variant in report.variants)
    return f"recorded by {report.recorder.value}" + ("; step times were taken while it recorded" if timed else "")


def device_words(device: DeviceKind, environment: Environment) -> str:
    """Return the device that a run was on, in words."""
    gpu = text.shown(environment.gpu) if environment.gpu else ""
    if device is DeviceKind.VIRTUAL:
        return "the virtual CUDA device" + (f", modelled on {gpu.removesuffix(' (virtual)')}" if gpu else "")
    return gpu or "CUDA"


def _headline(variant: RecordingSummary) -> Text:
    syncs = variant.per_step.syncs
    steps = text.plural(variant.steps, "step")
    if not variant.steps:
        said = "no step was measured"
    elif syncs is None:
        said = f"synchronizations were not recorded ({steps})"
    elif not syncs:
        said = f"no sync in {steps}"
    else:
        said = f"{text.plural(syncs, 'sync')} a step{_excused(variant.per_step)} ({steps})"
    if syncs is None or not variant.steps:
        colour = "bold yellow"
    else:
        colour = "bold red" if syncs > (variant.per_step.explicit_syncs or 0) else "bold green"
    return Text.assemble((text.shown(variant.name), "bold"), ": ", (said, colour))


def _excused(step: PerStep) -> str:
    parts = ((step.explicit_syncs, "asked for"), (step.allowed_syncs, "allowed"))
    return "".join(f", {text.number(syncs)} {word}" for syncs, word in parts if syncs)


def comparison_sentence(comparison: StepTimeComparison) -> Text:
    """Return how the candidate's step time compares, in one line."""
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


def _recorded(report: Report) -> Iterator[str]:
    """Yield what another program recorded; the waits of all steps, and of none."""
    coverage, who = report.coverage, report.recorder.value
    if coverage.seen is None:
        yield f"Coverage: {who} did not record the calls that wait, so that no synchronization could be counted."
    else:
        lines = f"{coverage.attributed} {'has' if coverage.attributed == 1 else 'have'} a Python line"
        yield f"Coverage: {who} recorded {text.plural(coverage.seen, 'synchronization')}; {lines}."
    if coverage.blind_to:
        yield f"Not recorded: {'; '.join(map(text.shown, coverage.blind_to))}."
    apart = [
        f"{text.shown(variant.name)} {text.number(variant.warmup_syncs)} before the first step"
        for variant in report.variants
        if variant.warmup_syncs
    ]
    if apart:
        yield f"Counted apart: {', '.join(apart)}."


def _coverage(report: Report) -> Iterator[str]:
    if report.recorder is not RecordedBy.SYNCWATCH:
        yield from _recorded(report)
        return
    coverage = report.coverage
    who = "CUPTI" if "cupti" in coverage.sensors else "The sensors"
    who = "The virtual device" if report.device is DeviceKind.VIRTUAL else who
    lines = f"{coverage.attributed} {'has' if coverage.attributed == 1 else 'have'}"
    if coverage.seen is None:
        yield f"Coverage: nothing counted the synchronizations independently; {lines} a line."
    else:
        yield (f"Coverage: {who} saw {text.plural(coverage.seen, 'synchronization')}; {lines} a line.")
    yield from map(text.sentence, text.joined(coverage))
    if coverage.sensors:
        yield f"Sensors: {', '.join(map(text.shown, coverage.sensors))}."
    if coverage.blind_to:
        yield f"Not watched: {'; '.join(map(text.shown, coverage.blind_to))}."
    priced = [
        f"{variant.price_overhead:.2f} times the step time of {text.shown(variant.name)}"
        for variant in report.variants
        if variant.price_overhead is not None
    ]
    if priced:
        yield f"The watched pass ran at {', '.join(priced)}."
    apart = [
        f"{text.shown(variant.name)} {text.number(figure)} {what}"
        for variant in report.variants
        for figure, what in ((variant.warmup_syncs, "in warm-up"), (variant.pacing_waits, "by the runner's own pacing"))
        if figure
    ]
    if apart:
        yield f"Counted apart: {', '.join(apart)}."
