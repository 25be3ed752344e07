"""The table of both variants in the terminal: its rows, its layout, and the mark of modelled times."""

from __future__ import annotations

from dataclasses import replace

import pytest

from syncwatch.model.report import PerStep, StepTime
from syncwatch.report.table import Column, kernel_notes, step_table
from syncwatch.report.text import Page

NOTHING = PerStep(0.0, 0.0, 0.0, *(None for _ in range(14)))


def column(name: str = "naive", *, step_ms: StepTime | None = None, **figures: float) -> Column:
    per_step: PerStep = replace(NOTHING, **figures)
    return Column(name, per_step, step_ms)


def shown(*columns: Column, width: int = 100, modelled: bool = False) -> list[list[str]]:
    """Return the cells of the table, row by row."""
    page = Page(width, color=False, unicode=True).render(lambda console: [step_table(columns, modelled=modelled)])
    return [[cell for cell in line.split("  ") if cell.strip()] for line in page.splitlines()]


def test_columns_that_do_not_fit_are_put_one_under_the_other_and_no_figure_is_torn() -> None:
    columns = [
        column(name, host_blocked_us=1920.0, step_ms=StepTime(4.012, (4.008, 4.021), modelled=False))
        for name in ("naive", "precomputed")
    ]
    page = Page(40, color=False, unicode=True).render(lambda console: [step_table(columns, modelled=False, width=40)])
    rows = [line.split("  ") for line in page.splitlines()]
    assert [[cell.strip() for cell in row if cell.strip()] for row in rows][-3:] == [
        ["95 % interval"],
        ["naive", "4.01 to 4.02 ms"],
        ["precomputed", "4.01 to 4.02 ms"],
    ]


@pytest.mark.parametrize(("width", "rows"), [(None, 3), (37, 3), (36, 7)])
def test_columns_stand_side_by_side_where_they_just_fit(width: int | None, rows: int) -> None:
    grid = step_table([column(), column("precomputed")], modelled=False, width=width)
    page = Page(100, color=False, unicode=True).render(lambda console: [grid])
    assert len(page.splitlines()) == rows


def test_a_single_column_is_never_taken_apart() -> None:
    grid = step_table([column(launch_gap_us=1.0)], modelled=False, width=10)
    assert len(grid.columns) == 2 and grid.row_count == 3


def labels(*columns: Column) -> list[str]:
    return [cells[0].strip() for cells in shown(*columns)[1:]]


def test_what_nobody_measured_is_left_out_but_for_syncs_and_step_time() -> None:
    assert labels(column(), column("precomputed")) == ["syncs", "step time"]


def test_what_one_variant_measured_is_shown_of_both() -> None:
    rows = shown(column(gpu_idle_us=12.5), column("precomputed"))
    assert [cell.strip() for cell in rows[2]] == ["GPU idle after syncs", "12.5 µs", "not measured"]


def test_a_measured_zero_is_a_row() -> None:
    assert "D2H copies" in labels(column(d2h_copies=0.0))


@pytest.mark.parametrize(("figure", "label"), [("explicit_syncs", "asked for"), ("allowed_syncs", "allowed")])
def test_syncs_that_are_excused_have_a_row_where_there_are_any(figure: str, label: str) -> None:
    excused = column("precomputed", syncs=2.0)
    excused = replace(excused, per_step=replace(excused.per_step, **{figure: 1.0}))
    assert label not in labels(column(syncs=2.0))
    assert label in labels(column(syncs=2.0), excused)


def test_an_interval_has_its_unit_once_where_both_ends_share_it() -> None:
    rows = shown(
        column(step_ms=StepTime(4.012, (4.008, 4.021), modelled=False)),
        column(step_ms=StepTime(1.0, (0.99, 1.01), modelled=False)),
    )
    assert [cell.strip() for cell in rows[-1]] == ["95 % interval", "4.01 to 4.02 ms", "990 µs to 1.01 ms"]


def test_a_gain_is_the_first_time_and_has_its_interval_where_one_is_known() -> None:
    known = replace(column(gain_us=-3.0, host_blocked_us=5.0), gain_ci_us=(-9.0, 2000.0))
    rows = [[cell.strip() for cell in row] for row in shown(known, column("precomputed", gain_us=2000.0))]
    assert rows[2:5] == [
        ["gain without implicit waits", "-3.00 µs", "2.00 ms"],
        ["95 % interval", "-9.00 µs to 2.00 ms", "none"],
        ["host blocked", "5.00 µs", "not measured"],
    ]


def test_every_modelled_duration_is_marked_and_no_count_is() -> None:
    rows = shown(column(d2h_copies=1.0, host_blocked_us=3.0, kernel_us=2.0), modelled=True)
    marked = {cells[0].strip() for cells in rows if "(modelled)" in cells[0]}
    assert marked == {"host blocked (modelled)", "summed kernel time (modelled)", "step time (modelled)"}


@pytest.mark.parametrize(("after", "moved"), [(1000.0, ""), (1019.0, ""), (1021.0, "+2.1 %"), (900.0, "-10.0 %")])
def test_kernel_time_that_moves_by_more_than_two_percent_is_said(after: float, moved: str) -> None:
    notes = list(kernel_notes([column(kernel_us=1000.0), column("precomputed", kernel_us=after)], modelled=False))
    assert bool(notes) == bool(moved)
    assert all(f"moved by {moved} from naive to precomputed" in note for note in notes)


def test_kernel_time_that_was_not_measured_moves_nowhere() -> None:
    assert not list(kernel_notes([column(kernel_us=1000.0), column("precomputed")], modelled=False))
    assert not list(kernel_notes([column(), column("precomputed", kernel_us=1.0)], modelled=False))


def test_the_virtual_clock_is_not_blamed_for_other_kernels() -> None:
    columns = [column(kernel_us=100.0), column("precomputed", kernel_us=200.0)]
    (measured,), (modelled,) = (list(kernel_notes(columns, modelled=each)) for each in (False, True))
    assert "clocks" in measured and "clocks" not in modelled
