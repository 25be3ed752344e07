"""The formats for machines, read by libraries that know nothing of syncwatch, whatever the names in them."""

from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path
from typing import Any

import jsonschema
import junitparser
import pytest
import xmlschema
from hypothesis import HealthCheck, given, settings
from markdown_it import MarkdownIt
from rich.cells import cell_len
from sarif_pydantic import Sarif

from syncwatch.app.report import Output, output_of, outputs_of, write_text
from syncwatch.errors import UsageError
from syncwatch.judge.gate import judge
from syncwatch.model.report import Report
from syncwatch.model.verdict import Policy, Verdict
from syncwatch.pipeline import rendered
from syncwatch.report.formats import Format
from syncwatch.report.github import MAX_ANNOTATIONS, GithubReporter
from syncwatch.report.markdown import MarkdownReporter
from syncwatch.report.sarif import FINGERPRINT, uri_of
from tests.helpers.fakes import gdn_session
from tests.helpers.hostile import reports
from tests.helpers.judging import report, site, verdict_on

DATA = Path(__file__).parents[2] / "data"
SARIF = jsonschema.Draft7Validator(json.loads((DATA / "sarif-schema-2.1.0.json").read_text()))
JUNIT = xmlschema.XMLSchema(DATA / "junit-10.xsd")
TODAY = date(2026, 7, 31)

often = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def judged(found: Report) -> Verdict:
    return judge(found, Policy(), today=TODAY)


def commands(text: str) -> list[tuple[str, dict[str, str], str]]:
    """Read workflow commands as the runner does: kind, properties and message of each line that is one."""
    found = []
    for line in text.splitlines():
        head = re.match(r"::(\w+)(?: ([^:]*(?:%3A[^:]*)*))?::(.*)$", line)
        assert head, line
        pairs = dict(pair.split("=", 1) for pair in (head[2] or "").split(",") if pair)
        properties = {name: unescaped(value, properties=True) for name, value in pairs.items()}
        found.append((head[1], properties, unescaped(head[3], properties=False)))
    return found


def unescaped(value: str, *, properties: bool) -> str:
    for escape, mark in (("%0D", "\r"), ("%0A", "\n"), *((("%3A", ":"), ("%2C", ",")) if properties else ())):
        value = value.replace(escape, mark)
    return value.replace("%25", "%")


@often
@given(found=reports())
def test_sarif_keeps_to_its_schema_whatever_the_names(found: Report) -> None:
    for verdict in (None, judged(found)):
        log = json.loads(rendered(Format.SARIF, found, verdict))
        SARIF.validate(log)
        loaded = Sarif.model_validate(log)
        assert len(loaded.runs[0].results or ()) == len(log["runs"][0]["results"])
        run = log["runs"][0]
        rules = run["tool"]["driver"]["rules"]
        assert all(rules[result["ruleIndex"]]["id"] == result["ruleId"] for result in run["results"])
        assert run["invocations"][0]["executionSuccessful"] is found.complete


@often
@given(found=reports())
def test_junit_keeps_to_its_schema_whatever_the_names(found: Report) -> None:
    for verdict in (None, judged(found)):
        text = rendered(Format.JUNIT, found, verdict)
        JUNIT.validate(text)
        suites = junitparser.JUnitXml.fromstring(text.encode())
        assert suites.tests == sum(suite.tests for suite in suites) == sum(len(list(suite)) for suite in suites)
        assert (suites.errors > 0) is not found.complete


@often
@given(found=reports())
def test_annotations_are_one_command_a_line_whatever_the_names(found: Report) -> None:
    for verdict in (None, judged(found)):
        said = commands(rendered(Format.GITHUB, found, verdict))
        assert {kind for kind, _, _ in said} <= {"error", "warning", "notice"}
        assert all(set(properties) <= {"file", "line", "title"} for _, properties, _ in said)


@often
@given(found=reports())
def test_the_summary_holds_no_markup_but_its_own_whatever_the_names(found: Report) -> None:
    for verdict in (None, judged(found)):
        text = rendered(Format.MARKDOWN, found, verdict)
        tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(text)
        kinds = [token.type for token in tokens] + [
            child.type for token in tokens if token.children for child in token.children
        ]
        assert not {"html_block", "html_inline", "image", "link_open", "fence", "code_block"} & set(kinds)
        assert kinds.count("heading_open") == 1 and kinds.count("table_open") == 2
        assert {row.count("td_open") for row in rows(tokens)} <= {0, 7, 1 + len(found.variants)}


def rows(tokens: list[Any]) -> list[list[str]]:
    kinds = " ".join(token.type for token in tokens)
    return [row.split() for row in re.findall(r"tr_open(.*?)tr_close", kinds)]


@often
@given(found=reports())
def test_json_and_the_terminal_hold_the_names_without_acting_on_them(found: Report) -> None:
    for verdict in (None, judged(found)):
        assert json.loads(rendered(Format.JSON, found, verdict))["schema"] == "syncwatch.report/2"
        text = rendered(Format.TERMINAL, found, verdict)
        assert all(character.isprintable() for line in text.split("\n") for character in line)
        assert max(cell_len(line) for line in text.split("\n")) <= 100
        text.encode()


def test_a_name_comes_back_from_every_format() -> None:
    name = 'load <state> & "more" ::x, 100%'
    found = report(site(file="app/my, file:1.py", function=name, source=name))

    sarif = json.loads(rendered(Format.SARIF, found))["runs"][0]["results"][0]["locations"][0]
    case = next(iter(next(iter(junitparser.JUnitXml.fromstring(rendered(Format.JUNIT, found).encode())))))
    _, properties, message = commands(rendered(Format.GITHUB, found))[0]
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(rendered(Format.MARKDOWN, found))
    spans = [child.content for token in tokens for child in token.children or () if child.type == "code_inline"]

    assert sarif["logicalLocations"][0]["fullyQualifiedName"] == name
    assert sarif["physicalLocation"]["region"]["snippet"]["text"] == name
    assert name in case.name and case.classname == "app/my, file:1.py"
    assert properties["file"] == "app/my, file:1.py" and properties["line"] == "7"
    assert f"    {name}\n" in message
    assert "app/my, file:1.py:7" in spans and name in spans


def test_a_file_name_is_a_relative_uri() -> None:
    assert uri_of("app/a b%#?.py") == "app/a%20b%25%23%3F.py"
    assert uri_of("a:b.py") == "a%3Ab.py"
    assert uri_of("//host/x.py") == "host/x.py"


def test_a_fingerprint_stays_where_code_moves_and_changes_where_it_is_edited() -> None:
    def of(*sites: Any) -> list[str]:
        results = json.loads(rendered(Format.SARIF, report(*sites)))["runs"][0]["results"]
        return [result["partialFingerprints"][FINGERPRINT] for result in results]

    before, moved, edited = of(site(line=7)), of(site(line=17)), of(site("y.item()"))
    assert before == moved != edited


def test_the_verdict_decides_what_fails() -> None:
    lines = (
        site("x.item()"),
        site("y.item()", allowed="once a request"),
        site("torch.cuda.synchronize()", explicit=True),
    )
    found, verdict = report(*lines), verdict_on(*lines)

    sarif = json.loads(rendered(Format.SARIF, found, verdict))["runs"][0]["results"]
    suite = next(iter(junitparser.JUnitXml.fromstring(rendered(Format.JUNIT, found, verdict).encode())))
    said = commands(rendered(Format.GITHUB, found, verdict))

    assert [(each["level"], len(each["suppressions"])) for each in sarif] == [("error", 0), ("warning", 0), ("note", 1)]
    assert (suite.tests, suite.failures, suite.skipped) == (3, 1, 1)
    assert [kind for kind, _, _ in said] == ["error", "warning"]


def test_what_could_not_be_measured_is_an_error_in_every_format() -> None:
    verdict = judge(report(), Policy(variants=("absent",)), today=TODAY)

    sarif = json.loads(rendered(Format.SARIF, report(), verdict))["runs"][0]
    suites = junitparser.JUnitXml.fromstring(rendered(Format.JUNIT, report(), verdict).encode())

    assert sarif["invocations"][0]["executionSuccessful"] is False and not sarif["results"]
    assert suites.errors == 1
    assert commands(rendered(Format.GITHUB, report(), verdict))[0][0] == "error"


def test_ten_annotations_are_written_and_the_rest_counted() -> None:
    lines = [site(f"x{number}.item()", line=number) for number in range(1, 31)]
    verdict = verdict_on(*lines, site("torch.cuda.synchronize()", explicit=True))

    said = commands(GithubReporter(verdict).render(report(*lines)))

    assert len(said) == MAX_ANNOTATIONS
    assert [properties["line"] for _, properties, _ in said[:9]] == [str(number) for number in range(1, 10)]
    assert said[9][1]["title"] == "22 more entries not shown here"


def test_one_line_in_two_variants_is_one_annotation() -> None:
    found = report(site())
    twice = Report(**{**{name: getattr(found, name) for name in found.__slots__}, "variants": found.variants * 2})

    assert len(commands(GithubReporter().render(twice))) == 1


def test_the_summary_stays_under_the_limit_of_github() -> None:
    lines = [site("x" * 10_000, file="y" * 10_000, line=number) for number in range(1, 2_000)]

    text = MarkdownReporter(verdict_on(*lines)).render(report(*lines))

    assert len(text.encode()) < 1024 * 1024
    assert "1,949 more lines" in text


def test_formats_are_named_with_or_without_a_file() -> None:
    assert outputs_of([]) == (Output(Format.TERMINAL),)
    assert outputs_of(["sarif=a=b.sarif", "github"]) == (
        Output(Format.SARIF, Path("a=b.sarif")),
        Output(Format.GITHUB),
    )
    assert outputs_of(["junit=a.xml"]) == (Output(Format.TERMINAL), Output(Format.JUNIT, Path("a.xml")))
    assert outputs_of(["terminal", "github"]) == (Output(Format.TERMINAL), Output(Format.GITHUB))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["jsno"], "Did you mean json"),
        (["nonsense"], "Choose from terminal, json"),
        (["sarif="], "names no file"),
        (["json", "github"], "json has to be alone on stdout"),
        (["json", "sarif"], "alone on stdout"),
        (["json=x", "sarif=x"], "one file"),
    ],
)
def test_formats_that_cannot_be_are_refused(asked: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        outputs_of(asked)


def test_every_format_can_be_named_and_rendered() -> None:
    from syncwatch.pipeline import report_of

    found = report_of(gdn_session())
    for form in Format:
        assert output_of(form.value).form is form
        assert rendered(form, found).endswith("\n")
        verdict = judge(found, Policy(variants=("naive",)), today=TODAY)
        assert rendered(form, found, verdict).endswith("\n")


def test_a_link_is_written_through_and_not_replaced(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)

    write_text("new\udc80", link)

    assert link.is_symlink() and target.read_text() == "new?"
