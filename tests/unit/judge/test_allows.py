"""Comments that allow a wait: which statement each covers, and what is refused or ignored."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from syncwatch.attribute.causes import CAUSES
from syncwatch.errors import UsageError
from syncwatch.judge.allows import allows_in, allows_of
from syncwatch.model.report import Site
from syncwatch.model.verdict import Allow, Outcome, Reason, Statement
from tests.helpers.judging import said, site, verdict_on

FILE = "app/train.py"

SOURCE = """\
def step(x):
    '''# syncwatch: allow[SW101] not a comment'''
    a = x.item()  # syncwatch: allow[SW101] read once a request
    b = torch.stack(  # syncwatch: allow[SW1, SW201] the whole statement
        [x.tolist()],
        x[x > 0],
    )
    # syncwatch: allow[SW101] on no statement
    for y in x.tolist():  # noqa: E501  # syncwatch: allow[SW102] until=2027-03-01 the header
        y.item()
    return (
        x.item()  # syncwatch: allow[SW101] inside
    )
"""


def covered(allows: tuple[Allow, ...], line: int, code: str = "SW101", source: str | None = None) -> bool:
    text = SOURCE.split("\n")[line - 1].strip() if source is None else source
    verdict = verdict_on(site(text, file=FILE, line=line, code=code), comments=allows)
    return verdict.outcome is Outcome.CLEAN


def test_a_comment_speaks_of_its_whole_statement_and_of_nothing_else() -> None:
    allows = allows_in(FILE, SOURCE, CAUSES)
    assert [(allow.codes, allow.reason, allow.line) for allow in allows] == [
        (("SW101",), "read once a request", 3),
        (("SW1", "SW201"), "the whole statement", 4),
        (("SW101",), "on no statement", 8),
        (("SW102",), "the header", 9),
        (("SW101",), "inside", 12),
    ]
    assert allows[3].until == date(2027, 3, 1)
    assert covered(allows, 3) and not covered(allows, 3, code="SW102")
    assert covered(allows, 5, code="SW102") and covered(allows, 6, code="SW201")
    assert not covered(allows, 6, code="SW208")
    assert covered(allows, 9, code="SW102") and not covered(allows, 10)
    assert covered(allows, 11) and covered(allows, 12)


def test_a_file_that_changed_since_the_run_says_nothing_about_it() -> None:
    assert not covered(allows_in(FILE, SOURCE, CAUSES), 3, source="b = x.item()")


def test_the_recorded_line_speaks_where_the_file_is_not_at_hand() -> None:
    here = site("x.item()  # syncwatch: allow[SW101] recorded", file=FILE)
    (allow,) = allows_of([here], [FILE], lambda file: None, CAUSES)
    assert (allow.reason, allow.line) == ("recorded", here.line)
    assert verdict_on(here, comments=(allow,)).outcome is Outcome.CLEAN


def test_the_file_and_the_recorded_line_are_one_allow() -> None:
    here = site(SOURCE.split("\n")[2].strip(), file=FILE, line=3)
    allows = allows_of([here], [FILE, FILE], lambda file: SOURCE, CAUSES)
    assert [allow.line for allow in allows] == [3, 4, 8, 9, 12]


def test_a_comment_that_covers_nothing_is_named_with_its_line() -> None:
    text = "x = 1  # syncwatch: allow[SW101] once\n"
    verdict = verdict_on(comments=allows_in(FILE, text, CAUSES))
    assert [(reason, line) for _, reason, line in said(verdict)] == [(Reason.UNUSED_ALLOW, 1)]


@pytest.mark.parametrize(
    ("comment", "words"),
    [
        ("# syncwatch: allow", "is no allow"),
        ("# syncwatch: alow[SW101] typo", "is no allow"),
        ("# syncwatch: allow SW101 reason", "is no allow"),
        ("# syncwatch: allow[SW101]", "no reason"),
        ("# syncwatch: allow[SW101] until=2027-03-01", "no reason"),
        ("# syncwatch: allow[] why", "no cause ''"),
        ("# syncwatch: allow[SW1O1] why", "Did you mean SW1"),
        ("# syncwatch: allow[SW101] why until=soon", "'soon' is no date"),
        ("# syncwatch: allow[SW101] why until=2027-02-30", "'2027-02-30' is no date"),
    ],
)
def test_a_malformed_allow_is_refused_with_its_place(comment: str, words: str) -> None:
    with pytest.raises(UsageError, match=r"app/train\.py:2") as refusal:
        allows_in(FILE, f"\nx = 1  {comment}\n", CAUSES)
    assert words in str(refusal.value)


@pytest.mark.parametrize("comment", ["# syncwatch: finds what waits", "# see syncwatch: it is good", "# syncwatch"])
def test_prose_is_no_allow(comment: str) -> None:
    assert allows_in(FILE, f"x = 1  {comment}\n", CAUSES) == ()


def test_a_file_of_another_python_is_read_line_by_line() -> None:
    (allow,) = allows_in(FILE, "if (\nx = 1  # syncwatch: allow[SW101] why\n", CAUSES)
    assert allow.where == Statement(FILE, 2, 2, ("x = 1  # syncwatch: allow[SW101] why",))


def test_windows_line_ends_change_nothing() -> None:
    allows = allows_in(FILE, SOURCE.replace("\n", "\r\n"), CAUSES)
    assert covered(allows, 3) and covered(allows, 6, code="SW201")


def test_a_site_without_a_source_line_is_covered_by_its_number() -> None:
    nameless: Site = site("", file=FILE, line=3)
    assert verdict_on(nameless, comments=allows_in(FILE, SOURCE, CAUSES)).outcome is Outcome.CLEAN


def test_a_comment_on_the_def_does_not_cover_a_wait_somewhere_in_the_function() -> None:
    # GIVEN a site of torch.profiler, whose line is that of the def, and a comment on it
    inexact = replace(site("", line=1), exact_line=False)
    comments = allows_in(FILE, "def step(x):  # syncwatch: allow[SW101] why\n    return x.item()\n", CAUSES)

    # THEN
    assert verdict_on(inexact, comments=comments).outcome is Outcome.OVER
    assert verdict_on(replace(inexact, exact_line=True), comments=comments).outcome is Outcome.CLEAN
