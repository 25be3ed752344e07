"""What removing a read could gain: the step time without it, at best, or why that is not known."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from syncwatch.model.report import NO_LINE, RecordingSummary, WhatIf
from syncwatch.report import text
from syncwatch.report.site import hanging


def ceiling(variant: RecordingSummary, console: Console) -> Iterator[Text]:
    """Yield what each replay of `variant` says; nothing where none was asked for."""
    if not variant.what_if:
        return
    heading = Text(f"step time of {text.shown(variant.name)} without these reads, at best{_against(variant)}:", "bold")
    yield from hanging(Text(), heading, console)
    for found in variant.what_if:
        yield from hanging(Text("  "), Text(f"{_lines(found)}: {_said(found)}"), console, deeper=2)


def _against(variant: RecordingSummary) -> str:
    """Return what the ratios are held against: the step as it is, timed in the rounds of the replays."""
    for found in variant.what_if:
        if found.step_ms is not None and found.step_time_ratio is not None:
            as_it_is = found.step_ms.median * found.step_time_ratio
            return f", against {_time(as_it_is, found.step_ms.modelled)} as it is"
    return ""


def _lines(found: WhatIf) -> str:
    if len(found.lines) == 1:
        line = found.lines[0]
        return "no Python line" if line.file == NO_LINE else f"{text.crop_left(text.shown(line.file), 120)}:{line.line}"
    return f"{text.plural(len(found.lines), 'line')} together"


def _said(found: WhatIf) -> str:
    if found.refused is not None:
        return f"not known. {text.shown(found.refused)}"
    if found.step_ms is None:
        return text.NOT_MEASURED
    time = _time(found.step_ms.median, found.step_ms.modelled)
    if found.step_time_ratio is None:
        return time
    ratio = f"{found.step_time_ratio:.3f}"
    if found.ci95 is None:
        return f"{time}, {ratio}x"
    low, high = found.ci95
    interval = f"95 % interval {low:.3f} to {high:.3f}"
    if low <= 1 <= high:
        return f"{time}, no difference shown (ratio {ratio}, {interval})"
    return f"{time}, {ratio}x ({interval})"


def _time(milliseconds: float, modelled: bool) -> str:
    return text.millis(milliseconds) + (" (modelled)" if modelled else "")
