"""What is said of a gain: how much, how sure, with which others, which wait takes over, or why there is none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from syncwatch.model.report import NO_LINE, PerStep, ReplayCheck, SharedGain, Variant
from syncwatch.model.session import Coverage, DeviceKind, Line
from syncwatch.model.verdict import Policy
from syncwatch.pipeline import judge_of, rendered, report_of
from syncwatch.report.formats import Format
from syncwatch.report.gain import (
    StepLength,
    gain_cell,
    gain_parts,
    gain_sentence,
    percent,
    remarks_of,
    step_named,
)
from syncwatch.report.site import block
from syncwatch.report.text import Page
from tests.helpers.fakes import gdn_session, nsys_session, recording, session, sync
from tests.helpers.judging import site

STEP = StepLength(10_000.0)
"""0.5 % of it are 50 microseconds."""
WHY = "No gain is stated: some waits have no time."


def said(us: float | None = None, step: StepLength = STEP, **more: Any) -> str:
    return gain_sentence(replace(site(), gain_us=us, **more), step)


def test_a_gain_has_its_share_of_the_step_and_its_interval() -> None:
    assert said(410.0) == "removing it gains 410 µs a step (4.1 %)"
    interval = said(410.0, gain_ci_us=(390.0, 425.0))
    assert interval == "removing it gains 410 µs a step (4.1 %); 95 % interval 390 to 425 µs"


def test_without_the_length_of_a_step_there_is_no_share() -> None:
    assert said(410.0, StepLength()) == "removing it gains 410 µs a step"


@pytest.mark.parametrize(
    ("us", "step_us", "nothing"),
    [
        pytest.param(4.9, 10_000.0, True, id="below-both"),
        pytest.param(4.9, 100.0, False, id="5-percent-of-a-short-step"),
        pytest.param(5.1, 10_000.0, False, id="more-than-a-launch"),
        pytest.param(0.0, 10_000.0, True, id="none"),
        pytest.param(-4.9, 10_000.0, True, id="noise-below-none"),
        pytest.param(4.9, None, True, id="step-not-known"),
    ],
)
def test_a_gain_below_both_limits_is_nothing(us: float, step_us: float | None, nothing: bool) -> None:
    assert ("gains nothing" in said(us, StepLength(step_us))) is nothing
    assert (gain_cell(us, StepLength(step_us)) == "nothing") is nothing


@pytest.mark.parametrize(
    ("idle_us", "why"),
    [
        (900.0, ": the host's own work hides it"),
        (0.0, ": the GPU works on meanwhile"),
        (None, ""),
    ],
)
def test_nothing_has_its_reason_where_one_is_known(idle_us: float | None, why: str) -> None:
    assert said(0.3, gpu_idle_us=idle_us) == f"removing it gains nothing{why}"


def test_an_interval_of_nothing_is_not_said() -> None:
    assert "interval" not in said(0.3, gain_ci_us=(0.1, 0.5))


def test_an_interval_that_holds_no_gain_shows_none() -> None:
    assert said(80.0, gain_ci_us=(-20.0, 180.0)) == "removing it shows no gain; 95 % interval -20.0 to 180 µs"


def test_a_step_may_become_longer() -> None:
    assert said(-120.0) == "removing it makes a step 120 µs longer (1.2 %)"


@pytest.mark.parametrize(
    ("others", "words"), [(3, "the 3 others of which this is said"), (1, "the other line of which this is said")]
)
def test_what_gains_with_others_is_said_and_no_reason_why_it_gains_nothing_alone(others: int, words: str) -> None:
    found = said(0.0, gpu_idle_us=900.0, gain_shared=SharedGain(others, 210.0))
    assert found == f"removing it gains nothing alone; with {words}: 210 µs a step (2.1 %)"


def test_a_little_gain_alone_is_said_beside_the_shared_one() -> None:
    found = said(60.0, gain_shared=SharedGain(3, 210.0))
    assert found.startswith("removing it gains 60.0 µs a step (0.6 %) alone; with the 3 others")


def test_the_line_that_takes_over_is_named() -> None:
    moved = said(410.0, moves_to=Line("app/emit.py", 14), moves_us=120.0)
    assert moved.endswith("; then app/emit.py:14 waits 120 µs longer")
    nothing = said(0.0, gpu_idle_us=900.0, moves_to=Line("app/emit.py", 14), moves_us=120.0)
    assert nothing == "removing it gains nothing; then app/emit.py:14 waits 120 µs longer"
    same = said(410.0, moves_to=Line("app/train.py", 7), moves_us=120.0)
    assert same.endswith("; then another wait at app/train.py:7 takes 120 µs longer")
    defined = said(410.0, exact_line=False, moves_to=Line("app/emit.py", 14), moves_us=120.0)
    assert defined.endswith("; then a wait in the function at app/emit.py:14 takes 120 µs longer")
    nowhere = said(410.0, moves_to=Line(NO_LINE, 0), moves_us=120.0)
    assert nowhere.endswith("; then a wait without a Python line takes 120 µs longer")


def test_a_foreign_name_cannot_act_upon_a_terminal() -> None:
    assert "\x1b" not in said(410.0, moves_to=Line("app/\x1b[31m.py", 14), moves_us=120.0)


def test_modelled_gains_are_marked_and_unknown_ones_are_no_times() -> None:
    virtual = StepLength(10_000.0, modelled=True)
    assert said(410.0, virtual) == "removing it gains 410 µs a step (4.1 %) (modelled)"
    assert said(None, virtual) == "gain not known"
    page = Page(100, color=False, unicode=True)
    lines = page.render(lambda console: block(replace(site(), gain_us=410.0), console, virtual)).splitlines()
    assert any(line.endswith("cost: removing it gains 410 µs a step (4.1 %) (modelled)") for line in lines)


@pytest.mark.parametrize(
    ("part", "words"), [(0.0, "0.0 %"), (0.0004, "under 0.1 %"), (0.0006, "0.1 %"), (1.0, "100.0 %")]
)
def test_a_part_too_small_to_show_is_not_shown_as_none(part: float, words: str) -> None:
    assert percent(part) == words


def test_the_cell_of_a_table() -> None:
    assert [gain_cell(us, STEP) for us in (None, 1.0, 410.0)] == ["not known", "nothing", "410 µs (4.1 %)"]


@pytest.mark.parametrize("width", range(40, 130, 10))
def test_no_figure_of_a_gain_is_torn_between_lines(width: int) -> None:
    known = replace(site(), gain_us=410.0, gain_ci_us=(390.0, 425.0), moves_to=Line("a.py", 1), moves_us=12.0)
    page = Page(width, color=False, unicode=True).render(lambda console: block(known, console, STEP))
    for part in ("gains 410 µs", "390 to 425 µs", "then a.py:1 waits 12.0 µs"):
        assert any(part in line for line in page.splitlines()), page


def test_outside_every_step_nothing_is_said_of_a_gain() -> None:
    page = Page(100, color=False, unicode=True).render(lambda console: block(site(), console, STEP, outside=True))
    assert "gain" not in page


def test_a_report_of_version_1_does_not_speak_of_gains() -> None:
    found = report_of(gdn_session())
    older = replace(found, variants=tuple(replace(each, replay=None) for each in found.variants))
    step = step_named("naive", older)
    assert gain_parts(found.sites[0], step) == [] and gain_sentence(found.sites[0], step) == ""
    page = rendered(Format.TERMINAL, older)
    assert "removing" not in page and "gain not known" not in page and "= cost: 1 call a step" in page
    assert "Cost: 1 call a step, host blocked 610 µs." in rendered(Format.GITHUB, older)


def unknown(*sites: Any) -> Variant:
    per_step = PerStep(*(None for _ in range(17)))
    coverage = Coverage(("debug_mode",), (), None, 0)
    check = ReplayCheck(0, None, None, WHY)
    return Variant("naive", 3, per_step, None, sites, 0, (), None, {}, (), 0, coverage, ("A note.",), replay=check)


def test_why_no_gain_is_known_is_said_once_a_recording_and_only_where_a_line_waits() -> None:
    assert remarks_of(unknown(site())) == ("A note.", WHY)
    assert remarks_of(unknown()) == ("A note.",)


@pytest.mark.parametrize("form", [form for form in Format if form not in (Format.GITHUB, Format.JSON)])
def test_every_format_says_once_why_no_gain_is_known(form: Format) -> None:
    waits = recording(syncs=[sync(0), sync(1)], kernels=None)
    found = report_of(session(waits))
    (why,) = (each.replay.unknown for each in found.variants if each.replay is not None)
    assert why is not None and rendered(form, found).count(why.split(": ")[1]) == 1


@pytest.mark.parametrize("form", [form for form in Format if form is not Format.JSON])
@pytest.mark.parametrize("judged", [False, True], ids=["report", "verdict"])
def test_every_format_says_what_removing_a_wait_gains(form: Format, judged: bool) -> None:
    found = report_of(gdn_session())
    known = found.variants[0].sites[0]
    verdict = judge_of(found, Policy(variants=("naive",))) if judged else None
    (first, *_) = gain_parts(known, step_named("naive", found))
    page = rendered(form, found, verdict).replace("%25", "%")
    assert first.startswith("removing it gains") and first.partition(" (")[0] in page


def test_the_step_of_a_trace_is_that_of_its_process() -> None:
    found = report_of(nsys_session())
    assert step_named("process 4242", found) == StepLength(1000.0)
    assert step_named(None, found) == StepLength()
    virtual = replace(found, device=DeviceKind.VIRTUAL)
    assert step_named("none of them", virtual) == StepLength(modelled=True)
