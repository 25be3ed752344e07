"""Where the marks of the charts stand: positions in percent of the drawing; the page holds the shapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from syncwatch.model.report import PerStep, RecordingSummary, Report, StepTimeComparison
from syncwatch.report import text

_PAD = 0.15
"""Of the range of the values, left free at both ends."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A value with its interval, in percent from the left."""

    name: str
    words: str
    at: float | None
    """None where it was not measured."""
    low: float | None = None
    """None where there is no interval."""
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Axis:
    """The marks of one chart, and what its ends stand for."""

    marks: tuple[Mark, ...]
    left: str
    right: str
    even: float | None = None
    """Where a ratio of 1 lies."""
    candidate: str = ""
    """Which variant is faster on the right of it."""


@dataclass(frozen=True, slots=True)
class Bar:
    """The GPU's time in a step of one variant; parts in percent of the longest."""

    name: str
    words: str
    parts: tuple[tuple[str, float, float], ...]
    """Kind, left edge and width."""


def step_times(variants: Sequence[RecordingSummary]) -> Axis | None:
    """Return the step times side by side; None where no variant has one."""
    known = [
        end
        for variant in variants
        if variant.step_ms is not None
        for end in (variant.step_ms.median, *(variant.step_ms.ci95 or ()))
    ]
    if not known:
        return None
    low, high = _padded(known)
    return Axis(
        marks=tuple(_time_mark(variant, low, high) for variant in variants),
        left=text.millis(low),
        right=text.millis(high),
    )


def ratio(comparison: StepTimeComparison | None) -> Axis | None:
    """Return the ratio of the step times with its interval beside 1; None where there is none."""
    if comparison is None or comparison.step_time_ratio is None:
        return None
    value, interval = comparison.step_time_ratio, comparison.ci95
    low, high = _padded([1.0, value, *(interval or ())])
    mark = Mark(
        name=text.shown(f"{comparison.baseline} ÷ {comparison.candidate}"),
        words=_ratio_words(comparison),
        at=_percent(value, low, high),
        low=_percent(interval[0], low, high) if interval else None,
        high=_percent(interval[1], low, high) if interval else None,
    )
    return Axis(
        (mark,), f"{low:.3f}", f"{high:.3f}", even=_percent(1.0, low, high), candidate=text.shown(comparison.candidate)
    )


def gpu_time(report: Report) -> tuple[Bar, ...]:
    """Return how the GPU spent a step of each variant: busy, idle after waits, idle because the host was slow."""
    spans = [variant.per_step.gpu_span_us or 0.0 for variant in report.variants]
    longest = max(spans, default=0.0)
    if not longest:
        return ()
    return tuple(_bar(variant.name, variant.per_step, longest) for variant in report.variants)


def _bar(name: str, step: PerStep, longest: float) -> Bar:
    known = [("busy", step.gpu_busy_us), ("idle", step.gpu_idle_us), ("gap", step.launch_gap_us)]
    parts, left = [], 0.0
    for kind, value in known:
        width = 100 * (value or 0.0) / longest
        parts.append((kind, round(left, 3), round(width, 3)))
        left += width
    words = (
        f"busy {text.micros(step.gpu_busy_us)}, idle after syncs {text.micros(step.gpu_idle_us)}, "
        f"launch gaps {text.micros(step.launch_gap_us)}"
    )
    return Bar(text.shown(name), words, tuple(parts))


def _time_mark(variant: RecordingSummary, low: float, high: float) -> Mark:
    name, time = text.shown(variant.name), variant.step_ms
    if time is None:
        return Mark(name, text.NOT_MEASURED, None)
    words = text.millis(time.median) + (" (modelled)" if time.modelled else "")
    if time.ci95 is None:
        return Mark(name, words, _percent(time.median, low, high))
    words += f", 95 % interval {text.span(*(1e3 * end for end in time.ci95))}"
    ends = [_percent(end, low, high) for end in time.ci95]
    return Mark(name, words, _percent(time.median, low, high), *ends)


def _ratio_words(comparison: StepTimeComparison) -> str:
    said = f"{comparison.step_time_ratio:.3f}"
    if comparison.ci95 is not None:
        said += f", 95 % interval {comparison.ci95[0]:.3f} to {comparison.ci95[1]:.3f}"
    return said + (" (modelled)" if comparison.modelled else "")


def _padded(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    pad = (high - low) * _PAD or abs(high) * 0.01 or 1.0
    return max(0.0, low - pad), high + pad


def _percent(value: float, low: float, high: float) -> float:
    return round(100 * (value - low) / (high - low), 3)
