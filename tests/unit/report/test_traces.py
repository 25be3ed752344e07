"""What each format says of a trace that another program recorded."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from datetime import date
from pathlib import Path

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from rich.cells import cell_len

from syncwatch.app.compare import run_comparison_of
from syncwatch.judge.gate import judge
from syncwatch.model.report import Report
from syncwatch.model.run_comparison import Change
from syncwatch.model.session import Coverage, RecordedBy
from syncwatch.model.verdict import Policy
from syncwatch.pipeline import rendered, report_of
from syncwatch.report.formats import Format, Screen
from syncwatch.report.run_comparison import RunComparisonReporter
from syncwatch.report.sarif import FINGERPRINT
from tests.helpers.fakes import Stacks, frame, nsys_session, recording, session, sync
from tests.helpers.hostile import NAMES, reports

SARIF = jsonschema.Draft7Validator(
    json.loads((Path(__file__).parents[2] / "data" / "sarif-schema-2.1.0.json").read_text())
)
_WORDS = (Format.TERMINAL, Format.JUNIT, Format.SARIF, Format.GITHUB, Format.MARKDOWN)
"""Formats that a person reads; the page is looked at in a browser."""
LINELESS = 'cudaStreamSynchronize in range "build metadata"'


def of_nsys() -> Report:
    return report_of(nsys_session())


def of_profiler() -> Report:
    """Return a trace of torch.profiler with one stack, whose line is that of the function."""
    stacks = Stacks()
    stacks.add(frame("", line=4, function="decode"))
    coverage = Coverage(("torch.profiler",), (), 1, 1)
    return report_of(session(recording(syncs=[sync()], stacks=stacks, coverage=coverage), recorder=RecordedBy("nsys")))


def blind() -> Report:
    """Return the report of a trace without host calls, which cannot say how often the host waited."""
    known = nsys_session()
    process = replace(known.recordings[0], syncs=(), coverage=Coverage(("nsys",), (), None, 0))
    return report_of(replace(known, recordings=(process,)))


@pytest.mark.parametrize("form", [*_WORDS, Format.JSON])
def test_a_wait_without_a_line_is_named_by_its_call_and_range(form: Format) -> None:
    text = rendered(form, of_nsys(), screen=Screen(120))
    said = json.dumps(json.loads(text), ensure_ascii=False) if form in (Format.JSON, Format.SARIF) else text
    if form is Format.JSON:
        assert '"range": "build metadata"' in said and '"exact_line": true' in said
    else:
        quoted = {Format.SARIF: json.dumps(LINELESS)[1:-1], Format.JUNIT: LINELESS.replace('"', "&quot;")}
        assert quoted.get(form, LINELESS) in said


@pytest.mark.parametrize("form", _WORDS)
def test_a_line_that_is_a_functions_is_not_given_out_as_the_one_that_waited(form: Format) -> None:
    text = rendered(form, of_profiler(), screen=Screen(120))
    assert "in function decode (defined at app/train.py:4)" in text or "SW900 decode defined at line 4" in text
    assert "app/train.py:4 in decode" not in text


@pytest.mark.parametrize("form", [Format.TERMINAL, Format.MARKDOWN])
def test_it_is_said_who_recorded_and_took_the_times(form: Format) -> None:
    text = rendered(form, of_nsys())
    assert "recorded by nsys; step times were taken while it recorded" in text
    untimed = replace(of_nsys(), variants=tuple(replace(each, step_ms=None) for each in of_nsys().variants))
    assert "recorded by nsys" in rendered(form, untimed) and "step times" not in rendered(form, untimed)


def two_processes() -> Report:
    known = nsys_session()
    (process,) = known.recordings
    assert process.kernels is not None
    other = replace(process, variant="process 4243", kernels=process.kernels[:2], notes=("of the second alone",))
    return report_of(replace(known, recordings=(process, other)))


def test_what_is_said_of_every_process_is_said_once() -> None:
    found = two_processes()
    text = rendered(Format.TERMINAL, found)
    assert all(any("one process" in note for note in variant.notes) for variant in found.variants)
    assert text.count("GPU figures count the work of one process") == 1
    assert text.count("note: of the second alone") == 1


def test_processes_are_not_held_against_one_another() -> None:
    text = rendered(Format.TERMINAL, two_processes())
    assert "process 4242" in text and "process 4243" in text
    assert "Summed kernel time moved" not in text and "faster" not in text and "outputs" not in text


def test_the_recorder_is_in_the_json() -> None:
    assert json.loads(rendered(Format.JSON, of_nsys()))["recorder"] == "nsys"


def test_the_sarif_of_a_trace_is_valid_and_tells_its_waits_apart() -> None:
    log = json.loads(rendered(Format.SARIF, of_nsys()))
    SARIF.validate(log)
    results = log["runs"][0]["results"]
    assert len({each["partialFingerprints"][FINGERPRINT] for each in results}) == len(results) == 3
    assert {each["properties"]["recorder"] for each in results} == {"nsys"}


def test_the_coverage_of_a_trace_says_what_was_recorded() -> None:
    text = rendered(Format.TERMINAL, of_nsys())
    assert "Coverage: nsys recorded 7 synchronizations; 0 have a Python line." in text
    assert "Not recorded: Python lines." in text
    assert "Sensors:" not in text and "outputs" not in text


def test_a_trace_without_calls_does_not_look_healthy() -> None:
    text = rendered(Format.TERMINAL, blind())
    assert "process 4242: synchronizations were not recorded (3 steps)" in text
    assert "no sync in" not in text
    assert "no synchronization could be counted" in text
    assert "| syncs | not measured |" in rendered(Format.MARKDOWN, blind())


def test_what_is_not_known_of_the_environment_is_left_out() -> None:
    head = rendered(Format.TERMINAL, of_nsys()).splitlines()[:3]
    assert head[2] == "driver 580.65"
    assert "torch" not in "".join(head)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(found=reports(), name=NAMES)
def test_hostile_names_of_a_trace_break_no_format(found: Report, name: str) -> None:
    variants = tuple(
        replace(each, sites=tuple(replace(site, exact_line=False, range=name, api=name) for site in each.sites))
        for each in found.variants
    )
    traced = replace(found, variants=variants, recorder=RecordedBy.TORCH_PROFILER)
    for width in (40, 100):
        text = rendered(Format.TERMINAL, traced, screen=Screen(width))
        assert max(map(cell_len, text.splitlines())) <= width
        assert all(character == "\n" or character.isprintable() for character in text)
    SARIF.validate(json.loads(rendered(Format.SARIF, traced)))
    ElementTree.fromstring(rendered(Format.JUNIT, traced))
    assert all(line.startswith("::") for line in rendered(Format.GITHUB, traced).splitlines())
    assert all(row.isprintable() for row in rendered(Format.MARKDOWN, traced).split("\n"))


def test_how_to_get_the_lines_is_said_once_and_not_under_every_wait() -> None:
    found = of_nsys()
    verdict = judge(found, Policy(), today=date(2026, 7, 31))
    for text in (rendered(Format.TERMINAL, found), rendered(Format.TERMINAL, found, verdict)):
        assert text.count("record it under torch.profiler") == 1
        assert text.count("seen as") == 3


def test_what_to_do_next_is_possible_without_a_line() -> None:
    known, ours = of_nsys(), report_of(session(recording(syncs=[sync()])))
    said = [
        " ".join(rendered(Format.TERMINAL, each, judge(each, Policy(), today=date(2026, 7, 31))).split())
        for each in (known, ours)
    ]
    assert "say at the line" not in said[0] and "its NVTX range" in said[0]
    assert "say at the line" in said[1]


def test_annotations_of_one_line_less_call_in_two_ranges_are_two() -> None:
    assert len(rendered(Format.GITHUB, of_nsys()).splitlines()) == 3


def test_two_traces_of_one_process_each_are_compared_whatever_its_number(tmp_path: Path) -> None:
    # GIVEN a later trace under another process number, in which one range no longer waits
    before, after = nsys_session(), nsys_session()
    (process,) = after.recordings
    kept = tuple(each for each in process.syncs if each.within is None or each.within % 2)
    after = replace(after, recordings=(replace(process, variant="process 77", syncs=kept),))
    paths = tmp_path / "before.json", tmp_path / "after.json"
    for known, path in zip((before, after), paths, strict=True):
        known.save(path)

    # WHEN
    found = run_comparison_of(*paths)

    # THEN
    (variant,) = found.variants
    assert (variant.before.variant, variant.after.variant) == ("process 4242", "process 77")
    changes = {line.waiter: line.change for line in variant.lines}
    assert changes[LINELESS] is Change.GONE
    assert changes['cudaStreamSynchronize in range "layer #"'] is not Change.NEW
    text = RunComparisonReporter(100).render(found)
    assert f"--> no Python line; seen as {LINELESS}" in text
    assert "recorded by nsys; its step times were taken meanwhile" in " ".join(text.split())
    assert "differ in target" not in text
    assert "not compared" not in text.replace("outputs not compared", "")
