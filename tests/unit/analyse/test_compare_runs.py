"""The comparison of two runs: which lines are the same, which are new or gone, and which times changed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from syncwatch.analyse.compare_lines import line_changes
from syncwatch.analyse.compare_runs import ComparedRun, compare_runs
from syncwatch.errors import NotMeasuredError, UsageError
from syncwatch.judge.baseline import key_of
from syncwatch.model.report import Site
from syncwatch.model.run_comparison import Change, LineComparison, RunComparison
from syncwatch.model.session import Coverage, DeviceKind, RecordedBy, Session
from syncwatch.pipeline import analysed
from tests.helpers.fakes import MS, gdn_session, later_gdn_session, recording, session, steps
from tests.helpers.judging import site

Rounds = list[list[int]]


def priced(
    source: str = "x.item()",
    *,
    blocked: float | None = 100.0,
    idle: float | None = 50.0,
    gain: float | None = None,
    **more: Any,
) -> Site:
    return replace(site(source, **more), host_blocked_us=blocked, gpu_idle_us=idle, gain_us=gain)


def changes(
    before: list[Site], after: list[Site], *, same_clock: bool = True, modelled: bool = False, step_us: float = 0.0
) -> tuple[LineComparison, ...]:
    return line_changes(before, after, key_of, same_clock=same_clock, modelled=modelled, step_us=step_us)


def only(found: tuple[LineComparison, ...]) -> LineComparison:
    (line,) = found
    return line


def test_a_line_that_moved_is_the_same_line() -> None:
    line = only(changes([priced(line=7)], [priced(line=93)]))
    assert line.change is Change.SAME
    assert line.before is not None and line.after is not None
    assert (line.before.lines, line.after.lines) == ((7,), (93,))


@pytest.mark.parametrize(
    "other",
    [
        priced("y.item()"),
        priced(code="SW102"),
        priced(function="other"),
        priced(file="app/other.py"),
    ],
    ids=["source", "code", "function", "file"],
)
def test_another_line_cause_function_or_file_is_another_site(other: Site) -> None:
    assert [line.change for line in changes([priced()], [other])] == [Change.GONE, Change.NEW]


def test_layout_and_comment_do_not_make_a_line_new() -> None:
    assert only(changes([priced("n = x.item()")], [priced("n  =  x.item( )  # read")])).change is Change.SAME


def test_calls_have_to_be_equal_however_they_were_divided() -> None:
    assert only(changes([priced(calls=7 / 3)], [priced(calls=(1 + 2 + 4) / 3)])).change is Change.SAME
    assert only(changes([priced(calls=7 / 3)], [priced(calls=2.0)])).change is Change.CHANGED


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        pytest.param(100.0, 139.0, Change.SAME, id="39-us-is-noise-of-two-prices"),
        pytest.param(100.0, 141.0, Change.CHANGED, id="41-us-of-140-is-none"),
        pytest.param(1000.0, 1100.0, Change.SAME, id="a-tenth-is-noise"),
        pytest.param(1000.0, 1150.0, Change.CHANGED, id="more-than-a-tenth"),
        pytest.param(1150.0, 1000.0, Change.CHANGED, id="the-other-way"),
        pytest.param(None, 1000.0, Change.SAME, id="not-measured-before"),
        pytest.param(1000.0, None, Change.SAME, id="not-measured-after"),
    ],
)
@pytest.mark.parametrize("figure", ["blocked", "idle"])
def test_times_change_by_more_than_two_prices_of_one_thing_differ(
    figure: str, before: Any, after: Any, change: Change
) -> None:
    was, now = priced(**{figure: before}), priced(**{figure: after})
    assert only(changes([was], [now])).change is change


@pytest.mark.parametrize(
    ("before", "after", "step_us", "change"),
    [
        pytest.param(0.0, 39.0, 1000.0, Change.SAME, id="39-us-is-noise-of-two-gains"),
        pytest.param(0.0, 41.0, 1000.0, Change.CHANGED, id="41-us-is-none"),
        pytest.param(-30.0, 30.0, 1000.0, Change.CHANGED, id="from-longer-to-shorter"),
        pytest.param(1000.0, 1240.0, 5000.0, Change.SAME, id="a-fifth-is-noise"),
        pytest.param(1000.0, 1260.0, 5000.0, Change.CHANGED, id="more-than-a-fifth"),
        pytest.param(100.0, 290.0, 10_000.0, Change.SAME, id="two-percent-of-the-step-are-noise"),
        pytest.param(100.0, 310.0, 10_000.0, Change.CHANGED, id="more-of-the-step"),
        pytest.param(None, 1000.0, 1000.0, Change.SAME, id="not-known-before"),
    ],
)
def test_a_gain_changes_by_more_than_two_gains_of_one_thing_differ(
    before: Any, after: Any, step_us: float, change: Change
) -> None:
    line = only(changes([priced(gain=before)], [priced(gain=after)], step_us=step_us))
    assert line.change is change
    assert line.before is not None and line.before.gain_us == before


def test_lines_that_gain_most_come_first_whatever_they_idle() -> None:
    before = [priced("idles", idle=900.0, gain=0.0), priced("gains", idle=1.0, gain=300.0)]
    assert [line.source for line in changes(before, [])] == ["gains", "idles"]


def test_on_the_virtual_clock_any_difference_is_a_change() -> None:
    line = only(changes([priced(blocked=100.0)], [priced(blocked=100.5)], modelled=True))
    assert line.change is Change.CHANGED


def test_times_of_two_clocks_change_nothing() -> None:
    assert only(changes([priced(blocked=10.0)], [priced(blocked=9000.0)], same_clock=False)).change is Change.SAME


def test_equal_lines_of_one_function_are_added_up() -> None:
    line = only(changes([priced(line=7)], [priced(line=7), priced(line=9)]))
    assert line.change is Change.CHANGED and line.after is not None
    assert (line.after.lines, line.after.calls_per_step, line.after.host_blocked_us) == ((7, 9), 2.0, 200.0)


def test_a_sum_with_an_unmeasured_part_is_not_measured() -> None:
    line = only(changes([], [priced(line=7), priced(line=9, blocked=None)]))
    assert line.after is not None and line.after.host_blocked_us is None


def test_lines_come_by_what_became_of_them_then_by_cost() -> None:
    before = [priced("kept"), priced("gone small", blocked=1.0), priced("gone large", blocked=900.0)]
    after = [priced("kept"), priced("new")]
    assert [line.source for line in changes(before, after)] == ["gone large", "gone small", "new", "kept"]


def run(name: str, known: Session) -> ComparedRun:
    return ComparedRun(name, analysed(known))


def between(before: Session, after: Session, *pairs: tuple[str, str]) -> RunComparison:
    return compare_runs(run("a.json", before), run("b.json", after), pairs, key_of)


def noisy(median_ms: float, *, seed: int) -> Rounds:
    random = np.random.default_rng(seed)
    return [[int(median_ms * MS * (1 + 0.02 * random.standard_normal())) for _ in range(5)] for _ in range(12)]


def timed(rounds: Rounds, variant: str = "naive", **more: Any) -> Session:
    return session(recording(variant, rounds_ns=rounds, steps=steps(3), **more))


def test_a_later_run_of_the_fixed_session_tells_what_was_changed() -> None:
    found = between(gdn_session(), later_gdn_session())
    naive, precomputed = found.variants
    assert [(line.change, line.code) for line in naive.lines] == [
        (Change.GONE, "SW102"),
        (Change.GONE, "SW401"),
        (Change.NEW, "SW102"),
        (Change.CHANGED, "SW102"),
        (Change.SAME, "SW208"),
    ]
    assert naive.comparison.verdict == "faster" and naive.comparison.step_time_ratio is not None
    assert naive.comparison.step_time_ratio > 1
    assert (precomputed.lines, precomputed.comparison.verdict) == ((), "no difference shown")


def test_a_run_against_itself_shows_no_difference() -> None:
    found = between(gdn_session(), gdn_session())
    assert {line.change for variant in found.variants for line in variant.lines} == {Change.SAME}
    assert {variant.comparison.verdict for variant in found.variants} == {"no difference shown"}


def test_a_gain_has_an_interval_of_unpaired_rounds() -> None:
    slow, fast = noisy(4.0, seed=1), noisy(3.0, seed=2)
    found = between(timed(slow), timed(fast)).variants[0].comparison
    assert found.verdict == "faster" and found.ci95 is not None
    assert found.ci95[0] <= 4 / 3 <= found.ci95[1]


def test_rounds_of_two_runs_are_no_pairs() -> None:
    # As pairs they would all have the ratio 4/3, and no interval: the drift of one run says nothing of the other's.
    drift = [1 + index / 100 for index in range(12)]
    slow, fast = ([[int(time * part * MS)] * 2 for part in drift] for time in (4, 3))
    found = between(timed(slow), timed(fast)).variants[0].comparison
    assert found.ci95 is not None
    assert found.ci95[1] - found.ci95[0] > 0.02


def test_noise_shows_no_difference() -> None:
    found = between(timed(noisy(3.0, seed=1)), timed(noisy(3.0, seed=2))).variants[0].comparison
    assert found.verdict == "no difference shown"


def test_measured_is_never_held_against_modelled() -> None:
    virtual = replace(timed([[3 * MS]], modelled=True), device=DeviceKind.VIRTUAL)
    found = between(timed(noisy(3.0, seed=1)), virtual)
    assert found.variants[0].comparison.step_time_ratio is None
    assert found.variants[0].comparison.verdict == "measured against modelled: times not compared"
    assert "b.json is modelled and the other was measured: their times are not compared." in found.notes
    assert not found.same_clock


def test_two_modelled_runs_have_an_exact_ratio_and_no_interval() -> None:
    slow, fast = (replace(timed([[time * MS]], modelled=True), device=DeviceKind.VIRTUAL) for time in (4, 2))
    found = between(slow, fast)
    assert (found.variants[0].comparison.step_time_ratio, found.variants[0].comparison.ci95) == (2.0, None)
    assert found.notes == ()


def test_variants_are_paired_by_name_and_the_rest_is_named() -> None:
    before = session(*(recording(name, steps=steps(3)) for name in ("naive", "precomputed")))
    found = between(before, session(recording("precomputed", steps=steps(3))))
    assert [(each.before.variant, each.after.variant) for each in found.variants] == [("precomputed", "precomputed")]
    assert "The variant naive of a.json is not compared." in found.notes


def test_without_a_common_name_the_last_of_each_is_taken() -> None:
    before = session(*(recording(name, steps=steps(3)) for name in ("slow", "fast")))
    found = between(before, session(recording("run", steps=steps(3))))
    assert [(each.before.variant, each.after.variant) for each in found.variants] == [("fast", "run")]


def test_a_named_pair_is_taken() -> None:
    found = between(gdn_session(), gdn_session(), ("naive", "precomputed"))
    assert [(each.before.variant, each.after.variant) for each in found.variants] == [("naive", "precomputed")]
    assert all(line.change is Change.GONE for line in found.variants[0].lines)


def test_a_variant_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(UsageError, match=r"b.json has no variant 'fast'. Choose from naive, precomputed."):
        between(timed([[MS]], "fast"), gdn_session(), ("fast", "fast"))


@pytest.mark.parametrize("empty", [session(), session(recording(steps=steps(1, warmup=1)))])
def test_without_a_measured_step_nothing_was_compared(empty: Session) -> None:
    with pytest.raises(NotMeasuredError, match=r"b.json holds no .* nothing to compare"):
        between(timed([[MS]]), empty)


def test_what_the_figures_depend_on_is_said_where_it_differs() -> None:
    before = gdn_session()
    after = replace(
        before,
        target="spec-decode",
        environment=replace(before.environment, gpu="NVIDIA A100", torch="2.14.0"),
        parameters={"preset": "qwen3.5-397b", "tokens": "4096", "layers": "4"},
    )
    notes = between(before, after).notes
    for said in (
        "target: gdn-prefill before; spec-decode after",
        "GPU: NVIDIA H200 before; NVIDIA A100 after",
        "torch: 2.13.0 before; 2.14.0 after",
        "tokens: 8192 before; 4096 after",
        "dtype: bfloat16 before; none after",
    ):
        assert f"The runs differ in {said}." in notes
    assert not any("triton" in note or "preset" in note for note in notes)


def test_what_a_trace_does_not_tell_is_no_difference() -> None:
    run = gdn_session()
    environment = replace(run.environment, torch="unknown", triton=None, gpu=None, driver=None)
    notes = between(replace(run, environment=environment, recorder=RecordedBy.NSYS), run).notes
    assert not any("differ in" in note for note in notes)
    without_triton = replace(run, environment=replace(run.environment, triton=None))
    assert any("differ in triton: none before" in note for note in between(without_triton, run).notes)


def test_other_sensors_and_an_early_end_are_said() -> None:
    blind = Coverage(("debug_mode",), (), None, 0)
    notes = between(timed([[MS]]), replace(timed([[MS]], coverage=blind), complete=False)).notes
    assert "b.json ended early, so that its figures are partial." in notes
    assert any(note.startswith("a.json was watched by cupti, debug_mode, b.json by debug_mode:") for note in notes)
