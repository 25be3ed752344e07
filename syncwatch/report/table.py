"""Shows variants side by side: a row for each figure of a step, a column for each variant."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from syncwatch.model.report import PerStep, RecordingSummary, StepTime
from syncwatch.report import text

_GAP = 2
"""Cells between two columns."""
_MOVED = 0.02
"""The part by which summed kernel time may differ before it is said; removing a sync leaves it as it was."""


@dataclass(frozen=True, slots=True)
class Column:
    """One variant of the table."""

    name: str
    per_step: PerStep
    step_ms: StepTime | None
    figures: Mapping[str, float | None] = field(default_factory=dict)
    """Figures of the scenario's own."""
    gain_ci_us: tuple[float, float] | None = None
    """The 95 % interval of what a step gains without its implicit waits."""


def column_of(variant: RecordingSummary) -> Column:
    """Return the column of `variant`."""
    interval = None if variant.replay is None else variant.replay.gain_ci_us
    return Column(variant.name, variant.per_step, variant.step_ms, variant.figures, interval)


@dataclass(frozen=True, slots=True)
class _Row:
    """One figure of a step."""

    label: str
    figure: Callable[[PerStep], float | None]
    shown: Callable[[float | None], str]
    always: bool = False
    """Whether the row stays where no variant measured it."""
    unless_zero: bool = False
    """Whether the row is left out where it is nothing in every variant."""

    @property
    def is_time(self) -> bool:
        """Return whether the figure is a duration."""
        return self.shown is text.micros


_GAIN = _Row("gain without implicit waits", lambda step: step.gain_us, text.micros)
_ROWS = (
    _Row("syncs", lambda step: step.syncs, text.count, always=True),
    _Row("  asked for", lambda step: step.explicit_syncs, text.count, unless_zero=True),
    _Row("  allowed", lambda step: step.allowed_syncs, text.count, unless_zero=True),
    _Row("allocator calls", lambda step: step.allocator_calls, text.count),
    _Row("D2H copies", lambda step: step.d2h_copies, text.count),
    _Row("D2H bytes", lambda step: step.d2h_bytes, text.size),
    _Row("H2D copies", lambda step: step.h2d_copies, text.count),
    _Row("H2D bytes", lambda step: step.h2d_bytes, text.size),
    _GAIN,
    _Row("host blocked", lambda step: step.host_blocked_us, text.micros),
    _Row("  drain wait", lambda step: step.drain_wait_us, text.micros),
    _Row("  call overhead", lambda step: step.call_overhead_us, text.micros),
    _Row("GPU span", lambda step: step.gpu_span_us, text.micros),
    _Row("GPU busy", lambda step: step.gpu_busy_us, text.micros),
    _Row("GPU idle after syncs", lambda step: step.gpu_idle_us, text.micros),
    _Row("launch gaps (host-bound)", lambda step: step.launch_gap_us, text.micros),
    _Row("summed kernel time", lambda step: step.kernel_us, text.micros),
    _Row("host build time", lambda step: step.host_build_us, text.micros),
)


_INTERVAL = "  95 % interval"
_Line = tuple[str, tuple[str, ...]]
"""A label, and the figure of each column."""


def step_table(columns: Sequence[Column], *, modelled: bool, width: int | None = None) -> Table:
    """Return the table of `columns`; rows that no column measured are left out, except syncs and step time.

    Args:
        columns: the variants.
        modelled: whether the durations come from the virtual clock.
        width: cells to keep; None for as many as it takes. Columns that do not fit side by side are put one under the
            other in each row, so that what is to be compared stays together and no figure is torn.
    """
    return _laid_out(columns, list(_lines(columns, modelled=modelled)), width)


def counts(columns: Sequence[Column], *, width: int | None = None) -> Table:
    """Return the rows of the table that are no times, for columns of which one was measured and one is modelled."""
    return _laid_out(columns, [_line(row, columns, "") for row in _rows(columns) if not row.is_time], width)


def _lines(columns: Sequence[Column], *, modelled: bool) -> Iterator[_Line]:
    mark = " (modelled)" if modelled else ""
    for row in _rows(columns):
        yield _line(row, columns, mark if row.is_time else "")
        if row is _GAIN and any(column.gain_ci_us for column in columns):
            yield _INTERVAL, tuple(_span(column.gain_ci_us) for column in columns)
    yield "step time" + mark, tuple(_median(column.step_ms) for column in columns)
    if any(column.step_ms is not None and column.step_ms.ci95 for column in columns):
        yield _INTERVAL, tuple(_interval(column.step_ms) for column in columns)
    for name in dict.fromkeys(name for column in columns for name in column.figures):
        label = text.shown(name.replace("_", " ")) + mark
        yield label, tuple(_own(column.figures.get(name)) for column in columns)


def _line(row: _Row, columns: Sequence[Column], mark: str) -> _Line:
    return row.label + mark, tuple(row.shown(row.figure(column.per_step)) for column in columns)


def _laid_out(columns: Sequence[Column], lines: Sequence[_Line], width: int | None) -> Table:
    names = [text.shown(column.name) for column in columns]
    labels = max(map(cell_len, ("per step", *(label for label, _ in lines))))
    cells = [max(map(cell_len, column)) for column in zip(names, *(figures for _, figures in lines), strict=True)]
    fits = width is None or labels + sum(_GAP + each for each in cells) <= width
    return _side_by_side(names, lines) if fits or len(columns) < 2 else _one_under_the_other(names, lines)


def _side_by_side(names: Sequence[str], lines: Sequence[_Line]) -> Table:
    grid = _grid(names)
    for label, figures in lines:
        grid.add_row(Text(label), *map(_cell, figures))
    return grid


def _one_under_the_other(names: Sequence[str], lines: Sequence[_Line]) -> Table:
    grid = _grid([""])
    for label, figures in lines:
        grid.add_row(Text(label), "")
        indent = " " * (len(label) - len(label.lstrip()) + 4)
        for name, figure in zip(names, figures, strict=True):
            grid.add_row(Text(indent + name, "dim"), _cell(figure))
    return grid


def _grid(names: Sequence[str]) -> Table:
    grid = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), show_edge=False, header_style="bold")
    grid.add_column(Text("per step"), overflow="fold")
    for name in names:
        grid.add_column(Text(name), justify="right", overflow="fold")
    return grid


def _own(figure: float | None) -> str:
    return text.NOT_MEASURED if figure is None else f"{figure:,.4g}"


def kernel_notes(columns: Sequence[Column], *, modelled: bool) -> Iterator[str]:
    """Yield a sentence for each column whose summed kernel time is not that of the first."""
    # The virtual clock has one speed.
    clocks = "" if modelled else ", or not at the same clocks"
    if not columns:
        return
    first, *others = columns
    before = first.per_step.kernel_us
    for column in others:
        after = column.per_step.kernel_us
        if not before or after is None or abs(after / before - 1) <= _MOVED:
            continue
        yield (
            f"Summed kernel time moved by {100 * (after / before - 1):+.1f} % from {first.name} to {column.name}: they "
            f"did not run the same kernels{clocks}, and their step times differ for that reason too."
        )


def _rows(columns: Sequence[Column]) -> Iterator[_Row]:
    for row in _ROWS:
        figures = [row.figure(column.per_step) for column in columns]
        has_figures = any(figures) if row.unless_zero else any(figure is not None for figure in figures)
        if row.always or has_figures:
            yield row


def _cell(figure: str) -> Text:
    return Text(figure, "dim" if figure == text.NOT_MEASURED else "")


def _median(time: StepTime | None) -> str:
    return text.NOT_MEASURED if time is None else text.millis(time.median)


def _interval(time: StepTime | None) -> str:
    if time is None:
        return text.NOT_MEASURED
    return _span(None if time.ci95 is None else (1e3 * time.ci95[0], 1e3 * time.ci95[1]))


def _span(interval: tuple[float, float] | None) -> str:
    return "none" if interval is None else text.span(*interval)
