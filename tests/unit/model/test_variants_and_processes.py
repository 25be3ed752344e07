"""A variant that syncwatch ran and a process in another program's trace are two types, and one place decides which."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import date

import pytest

from syncwatch.judge.baseline import variant_scope
from syncwatch.judge.gate import baseline_of, judge
from syncwatch.model.codec import encode
from syncwatch.model.process_name import process_name
from syncwatch.model.report import Process, RecordingSummary, Variant
from syncwatch.model.session import RecordedBy
from syncwatch.model.verdict import Outcome, Policy
from syncwatch.pipeline import report_of
from tests.helpers.fakes import gdn_session, nsys_session, recording, session, sync


def test_what_a_recording_is_of_is_a_type() -> None:
    ours, theirs = report_of(gdn_session()), report_of(nsys_session())
    assert {type(each) for each in ours.variants} == {Variant} and ours.processes == ()
    assert {type(each) for each in theirs.variants} == {Process} and theirs.processes == theirs.variants
    assert not issubclass(Process, Variant)


def test_the_last_variant_is_the_candidate_and_every_process_stands_for_itself() -> None:
    both = (recording("a", syncs=[sync()]), recording("b", syncs=[sync()]))
    ours = report_of(session(*both))
    theirs = report_of(session(*both, recorder=RecordedBy.TORCH_PROFILER))

    assert [each.name for each in ours.candidates] == ["b"]
    assert [each.name for each in theirs.candidates] == ["a", "b"]
    assert ours.comparison is not None and theirs.comparison is None
    assert judge(theirs, Policy(), today=date(2026, 7, 31)).variants == ("a", "b")


@pytest.mark.parametrize(
    ("name", "scope"),
    [
        (process_name(4242), "process"),
        (process_name(4242, machine=1), "process, machine 1"),
        (process_name(None), "process"),
        ("rank 0", "rank 0"),
    ],
)
def test_a_process_is_known_without_its_number_and_a_variant_by_its_whole_name(name: str, scope: str) -> None:
    # GIVEN a variant that somebody calls as a trace calls a process
    (process,) = report_of(session(recording(name), recorder=RecordedBy.NSYS)).variants
    (variant,) = report_of(session(recording(name))).variants

    # THEN it keeps its number: only a process has another one in the next trace
    assert (variant_scope(process), variant_scope(variant)) == (scope, name)


def test_a_baseline_of_one_process_knows_the_next() -> None:
    first = nsys_session()
    later = replace(first, recordings=(replace(first.recordings[0], variant="process 77"),))
    known = baseline_of(report_of(first), Policy(), (), date(2026, 7, 31))
    assert judge(report_of(later), Policy(), baseline=known, today=date(2026, 7, 31)).outcome is Outcome.CLEAN


def test_both_read_the_same_as_json() -> None:
    report = report_of(nsys_session())
    (process,) = report.variants
    names = {each.name: getattr(process, each.name) for each in fields(RecordingSummary)}
    assert encode(report) == encode(replace(report, variants=(Variant(**names),)))
