"""The comparison of two runs in the terminal: what is shown, counted or left out, whatever the names in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from rich.cells import cell_len

from syncwatch.app.compare import run_comparison_of
from syncwatch.model.report import NO_LINE, ReplayCheck
from syncwatch.model.run_comparison import Change, RunComparison
from syncwatch.model.session import DeviceKind
from syncwatch.report.run_comparison import RunComparisonReporter
from syncwatch.report.text import micros
from tests.helpers.fakes import gdn_session, later_gdn_session


@pytest.fixture
def found(tmp_path: Path) -> RunComparison:
    before, after = tmp_path / "before.json", tmp_path / "after.json"
    gdn_session().save(before)
    later_gdn_session().save(after)
    return run_comparison_of(before, after)


def hostile(found: RunComparison, name: str) -> RunComparison:
    (naive, *_) = found.variants
    lines = tuple(replace(each, file=name, function=name, source=name) for each in naive.lines)
    step = replace(naive.before, variant=name)
    facts = replace(
        found.before,
        file=name,
        target=name,
        parameters={name: name},
        environment=replace(found.before.environment, gpu=name),
    )
    return replace(found, before=facts, notes=(name,), variants=(replace(naive, before=step, lines=lines),))


@pytest.mark.parametrize("width", [40, 60, 100, 200])
@pytest.mark.parametrize(
    "name",
    [
        "\x1b[31mred",
        "[red]x[/red]",
        "a\nb\tc",
        "abc\u202edcba",
        "a\udc80b",
        "データ" * 20,
        "",
        "x" * 5000,
        "d/" * 900 + "f.py",
    ],
    ids=["ansi", "markup", "newline", "bidi", "surrogate", "wide", "empty", "long", "path"],
)
def test_a_hostile_name_is_shown_and_never_acted_upon(name: str, width: int, found: RunComparison) -> None:
    rendered = RunComparisonReporter(width).render(hostile(found, name))
    assert all(character == "\n" or character.isprintable() for character in rendered)
    assert max(cell_len(line) for line in rendered.splitlines()) <= width


def test_what_is_as_before_is_counted_and_not_listed(found: RunComparison) -> None:
    rendered = RunComparisonReporter(100).render(found)
    assert "1 as before" in rendered and "state[has_initial_state]" not in rendered


def test_a_changed_line_that_moved_says_where_it_was(found: RunComparison) -> None:
    (naive, *_) = found.variants
    moved = [replace(each, change=Change.CHANGED) for each in naive.lines if each.change is Change.SAME]
    rendered = RunComparisonReporter(200).render(replace(found, variants=(replace(naive, lines=tuple(moved)),)))
    assert "gdn_prefill.py:127 (was 120) in Workload.load_state" in rendered


def test_a_wait_without_a_line_is_named_so(found: RunComparison) -> None:
    (naive, *_) = found.variants
    line = replace(naive.lines[0], file=NO_LINE, source="")
    rendered = RunComparisonReporter(100).render(replace(found, variants=(replace(naive, lines=(line,)),)))
    assert "--> no Python line" in rendered and "   | " not in rendered


def test_more_lines_than_fit_are_counted(found: RunComparison) -> None:
    (naive, *_) = found.variants
    many = replace(naive, lines=naive.lines[:1] * 12)
    rendered = RunComparisonReporter(100, max_lines=3).render(replace(found, variants=(many,)))
    assert rendered.count("gone    SW102") == 3
    assert "and 9 more lines gone; `--format json` has them all" in rendered


def test_every_modelled_time_carries_its_mark(found: RunComparison) -> None:
    virtual = replace(
        found,
        before=replace(found.before, device=DeviceKind.VIRTUAL),
        after=replace(found.after, device=DeviceKind.VIRTUAL),
    )
    times = [line for line in RunComparisonReporter(200).render(virtual).splitlines() if " µs" in line or " ms" in line]
    assert times and all("(modelled)" in line for line in times if "interval" not in line)


def test_of_two_clocks_no_time_is_shown(found: RunComparison) -> None:
    mixed = replace(found, after=replace(found.after, device=DeviceKind.VIRTUAL))
    rendered = RunComparisonReporter(200).render(mixed)
    assert "syncs" in rendered and "D2H bytes" in rendered
    assert "µs" not in rendered and " ms" not in rendered


def gains(found: RunComparison, **changed: object) -> str:
    """Return what is said below the table of the naive variant, whose comparison has `changed`, as one line."""
    naive = replace(found.variants[0], **changed)  # type: ignore[arg-type]
    return " ".join(RunComparisonReporter(200).render(replace(found, variants=(naive,))).split())


def test_what_was_to_be_gained_is_said_beside_what_became_of_the_step(found: RunComparison) -> None:
    naive = found.variants[0]
    was, now = naive.before.per_step.gain_us, naive.after.per_step.gain_us
    assert was is not None and now is not None and was > now
    assert f"was to gain {micros(was)} a step before, and {micros(now)} now; the step time fell by 150 µs." in gains(
        found
    )
    same = replace(naive.comparison, verdict="no difference shown")
    assert "now; of the step time no difference is shown." in gains(found, comparison=same)
    untimed = replace(naive.after, step_ms=None)
    assert f"{micros(now)} now." in gains(found, after=untimed)


def test_where_a_gain_is_not_known_its_reason_is_said_once_and_no_difference(found: RunComparison) -> None:
    naive = found.variants[0]
    unknown = replace(
        naive.before,
        per_step=replace(naive.before.per_step, gain_us=None),
        replay=ReplayCheck(0, None, None, "No gain is stated: some waits have no time."),
    )
    shown = gains(found, before=unknown)
    assert shown.count("note: before: No gain is stated: some waits have no time.") == 1
    assert "was to gain" not in shown


def test_of_two_clocks_no_gain_is_held_against_the_other(found: RunComparison) -> None:
    after = replace(found.after, device=DeviceKind.VIRTUAL)
    shown = RunComparisonReporter(100).render(replace(found, after=after, before=replace(found.before, file="a.json")))
    assert "gain " not in shown and "was to gain" not in shown
