"""How the recordings of a session become one report: coverages, counts, variants and sites."""

from __future__ import annotations

from dataclasses import asdict, replace

from syncwatch.analyse.build import merge
from syncwatch.model.events import Step
from syncwatch.model.session import Coverage
from syncwatch.pipeline import report_of
from tests.helpers.fakes import gdn_session, recording, session


def test_coverages_are_merged_without_repeating_a_name() -> None:
    first = Coverage(("debug_mode", "cupti"), ("nccl",), 3, 2)
    second = Coverage(("debug_mode",), ("nccl", "sparse"), 4, 4)
    assert merge([first, second]) == Coverage(("debug_mode", "cupti"), ("nccl", "sparse"), 7, 6)


def test_one_unknown_count_makes_the_sum_unknown() -> None:
    assert merge([Coverage((), (), 3, 3), Coverage((), (), None, 1)]).seen is None
    assert merge([]).seen is None


def test_the_first_variant_is_the_baseline_and_the_last_the_candidate() -> None:
    report = report_of(session(recording("a"), recording("b"), recording("c")))
    assert report.comparison is not None
    assert (report.comparison.baseline, report.comparison.candidate) == ("a", "c")


def test_a_single_variant_is_not_compared() -> None:
    assert report_of(session(recording())).comparison is None
    assert report_of(session()).variants == ()


def test_where_no_step_was_measured_every_figure_of_a_step_is_unknown() -> None:
    warmup = replace(recording(), steps=(Step(0, warmup=True, start_ns=0, end_ns=10),))

    (variant,) = report_of(session(warmup)).variants

    assert variant.steps == 0
    assert set(asdict(variant.per_step).values()) == {None}


def test_the_report_says_what_the_session_says_of_itself() -> None:
    report = report_of(session(complete=False, missing=("It was killed.",)))
    assert (report.complete, report.missing) == (False, ("It was killed.",))


def test_the_sites_of_all_variants_are_listed_in_order() -> None:
    assert [site.code for site in report_of(gdn_session()).sites] == ["SW208", "SW102", "SW102", "SW401"]
