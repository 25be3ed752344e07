"""What the page says in words: everything but the timeline's events, as the template puts it down."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.text import Text

from syncwatch.model.analysis import StepsWithout
from syncwatch.model.report import NO_LINE, UNKNOWN, RecordingSummary, Report, WhatIf
from syncwatch.model.session import DeviceKind, RecordedBy, Session
from syncwatch.model.verdict import Verdict
from syncwatch.report import text
from syncwatch.report.gain import StepLength, gain_cell, remarks_of, step_of
from syncwatch.report.html import chart
from syncwatch.report.html.packing import printable
from syncwatch.report.html.rows import outside_rows, site_rows, wait_rows
from syncwatch.report.html.thinning import DrawnRecording
from syncwatch.report.table import Column, column_of, kernel_notes, step_table
from syncwatch.report.terminal import comparison_sentence as comparison_words
from syncwatch.report.terminal import device_words, provenance
from syncwatch.report.verdict import verdict_sentence as verdict_words

MAX_ROWS = 500
"""Rows of a table; the rest is counted."""


def page_of(
    report: Report,
    verdict: Verdict | None,
    session: Session | None,
    drawn: Sequence[DrawnRecording],
    without: Sequence[Sequence[StepsWithout]] = (),
) -> dict[str, Any]:
    """Return what the template shows."""
    modelled = report.device is DeviceKind.VIRTUAL
    sites, warmup = site_rows(report, session, drawn, without)
    waits = list(wait_rows(session, drawn))
    return {
        "target": printable(report.target),
        "where": text.shown(device_words(report.device, report.environment)),
        "modelled": modelled,
        "mark": " (modelled)" if modelled else "",
        "unwatched": [text.shown(sentence) for sentence in report.unwatched],
        "remarks": [text.shown(sentence) for sentence in report.notes],
        "partial": None if report.complete else [text.shown(reason) for reason in report.missing],
        "imported": provenance(report) if report.recorder is not RecordedBy.SYNCWATCH else None,
        "verdict": _verdict(report, verdict),
        "comparison": comparison_words(report.comparison).plain if report.comparison else None,
        "better": _better(report),
        "cards": [_card(variant, step_of(variant, report)) for variant in report.variants],
        "times": chart.step_times(report.variants),
        "ratio": chart.ratio(report.comparison),
        "bars": chart.gpu_time(report),
        "sites": _cropped(sites),
        "warmup": _cropped(warmup),
        "outside": _cropped(outside_rows(report, session, drawn)),
        "waits": _cropped(waits),
        "thinned": _thinned(session, drawn),
        "origin": _origin(session),
        "steps": _grid(report, modelled=modelled),
        "step_notes": [text.shown(note) for note in kernel_notes(_columns(report), modelled=modelled)],
        "ceilings": [_ceiling(variant) for variant in report.variants if variant.what_if],
        "coverage": list(_coverage(report)),
        "notes": [(printable(each.name), text.shown(note)) for each in report.variants for note in remarks_of(each)],
        "environment": list(_environment(report)),
        "parameters": [(printable(name), printable(value)) for name, value in (report.parameters or {}).items()],
    }


def _cropped(rows: Sequence[Any]) -> dict[str, Any]:
    return {"rows": rows[:MAX_ROWS], "more": max(0, len(rows) - MAX_ROWS), "all": len(rows)}


def _verdict(report: Report, verdict: Verdict | None) -> dict[str, Any] | None:
    if verdict is None:
        return None
    return {
        "outcome": verdict.outcome.name.lower(),
        "words": text.shown(verdict_words(report, verdict)),
        "rulings": _cropped([(ruling.severity.value, printable(ruling.message)) for ruling in verdict.rulings]),
    }


def _better(report: Report) -> str:
    """Return how the comparison came out, for its colour."""
    word = report.comparison.verdict if report.comparison else ""
    return "faster" if word.startswith("faster") else "slower" if word.startswith("slower") else "open"


def _card(variant: RecordingSummary, length: StepLength) -> dict[str, Any]:
    step, time, mark = variant.per_step, variant.step_ms, length.mark
    excused = ((step.explicit_syncs, "asked for"), (step.allowed_syncs, "allowed"))
    known = step.syncs is not None and variant.steps > 0
    return {
        "name": printable(variant.name),
        "syncs": text.count(step.syncs) if known else text.NOT_MEASURED,
        "state": "unknown" if not known else "waits" if step.syncs else "clean",
        "noun": "sync a step" if step.syncs == 1 else "syncs a step",
        "excused": ", ".join(f"{text.number(figure)} {word}" for figure, word in excused if figure),
        "steps": text.plural(variant.steps, "measured step"),
        "figures": [
            (f"gain without implicit waits{mark}", gain_cell(step.gain_us, length)),
            ("D2H copies a step", text.count(step.d2h_copies)),
            (f"host blocked{mark}", text.micros(step.host_blocked_us)),
            (f"GPU idle after syncs{mark}", text.micros(step.gpu_idle_us)),
            (
                f"step time{' (modelled)' if time and time.modelled else ''}",
                text.NOT_MEASURED if time is None else text.millis(time.median),
            ),
        ],
    }


def _columns(report: Report) -> tuple[Column, ...]:
    return tuple(map(column_of, report.variants))


def _grid(report: Report, *, modelled: bool) -> dict[str, Any]:
    """Return the terminal's table: one place says which figures there are, and what they are called."""
    grid = step_table(_columns(report), modelled=modelled)
    rows = zip(*([_plain(cell) for cell in column.cells] for column in grid.columns), strict=True)
    return {"head": [_plain(column.header) for column in grid.columns], "rows": list(rows)}


def _plain(cell: object) -> str:
    return cell.plain if isinstance(cell, Text) else str(cell)


def _thinned(session: Session | None, drawn: Sequence[DrawnRecording]) -> list[tuple[str, str]]:
    recordings = session.recordings if session else ()
    notes = [
        (printable(recording.variant), note)
        for recording, each in zip(recordings, drawn, strict=False)
        for note in each.notes
    ]
    rest = len(recordings) - len(drawn)
    if rest > 0:
        notes.append(("not drawn", f"{text.plural(rest, 'more recording')}; the tables have them all."))
    return notes


def _origin(session: Session | None) -> str:
    """Return what the timeline counts from."""
    marked = session is not None and all(recording.steps for recording in session.recordings)
    return "first measured step" if marked else "recording"


def _ceiling(variant: RecordingSummary) -> dict[str, Any]:
    timed = (
        found.step_ms.median * found.step_time_ratio
        for found in variant.what_if
        if found.step_ms is not None and found.step_time_ratio is not None
    )
    # The ratios are against the step as it is, timed in the rounds of the replays.
    as_it_is = next(timed, None)
    mark = " (modelled)" if variant.step_ms is not None and variant.step_ms.modelled else ""
    return {
        "name": printable(variant.name),
        "against": "" if as_it_is is None else f", against {text.millis(as_it_is)}{mark} as it is",
        "rows": [_replay(found) for found in variant.what_if],
    }


def _replay(found: WhatIf) -> tuple[str, str, str]:
    """Return the lines that were replayed, the step time without them, and its ratio."""
    lines = [
        "no Python line" if line.file == NO_LINE else f"{printable(line.file)}:{line.line}" for line in found.lines
    ]
    device_words = lines[0] if len(lines) == 1 else f"{text.plural(len(lines), 'line')} together"
    if found.refused is not None or found.step_ms is None:
        return device_words, text.NOT_MEASURED, text.shown(found.refused or "")
    time = text.millis(found.step_ms.median) + (" (modelled)" if found.step_ms.modelled else "")
    if found.step_time_ratio is None:
        return device_words, time, text.NOT_MEASURED
    if found.ci95 is None:
        return device_words, time, f"{found.step_time_ratio:.3f}x"
    low, high = found.ci95
    shown = "no difference shown, " if low <= 1 <= high else ""
    return device_words, time, f"{shown}{found.step_time_ratio:.3f}x (95 % interval {low:.3f} to {high:.3f})"


def _coverage(report: Report) -> Iterator[tuple[str, str]]:
    coverage = report.coverage
    seen = "nothing counted them independently" if coverage.seen is None else text.number(coverage.seen)
    yield "synchronizations seen", seen
    yield "with a line", text.number(coverage.attributed)
    yield from (("calls and records", each) for each in text.joined(coverage))
    yield "sensors", ", ".join(map(printable, coverage.sensors)) or "none"
    yield "not watched", "; ".join(map(printable, coverage.blind_to)) or "nothing known"
    for variant in report.variants:
        name = printable(variant.name)
        if variant.price_overhead is not None:
            yield f"watched pass of {name}", f"{variant.price_overhead:.2f} times the step time"
        if variant.warmup_syncs:
            yield f"in warm-up of {name}", text.plural(variant.warmup_syncs, "sync")
        if variant.pacing_waits:
            yield f"the runner's own pacing, {name}", text.plural(variant.pacing_waits, "wait")


def _environment(report: Report) -> Iterator[tuple[str, str]]:
    environment = report.environment
    yield "device", text.shown(device_words(report.device, environment))
    for name in ("driver", "torch", "triton", "python", "syncwatch"):
        value = getattr(environment, name)
        yield name, printable(value) if value and value != UNKNOWN else "not known"
