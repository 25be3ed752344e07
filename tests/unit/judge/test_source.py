"""A line of source keeps its fingerprint when only layout or comments change."""

from __future__ import annotations

import pytest

from syncwatch.judge.source import comment_of, normalised


@pytest.mark.parametrize(
    ("line", "same"),
    [
        ("total+=loss.item( )   # why", "total += loss.item()"),
        ("if  x . any ( ) :", "if x.any():"),
        ("call(a,   'b  c')", "call(a, 'b  c')"),
        ("f( x", "f(x"),
        (") . item( )", ").item()"),
    ],
)
def test_layout_and_comments_say_nothing(line: str, same: str) -> None:
    assert normalised(line) == normalised(same)


@pytest.mark.parametrize(
    ("line", "other"),
    [
        ("x.item()", "y.item()"),
        ("call('a  b')", "call('a b')"),
        ("call('#a')", "call('#b')"),
        ("not x", "notx"),
        ("x.item(); y.item()", "x.item()"),
    ],
)
def test_what_the_line_does_makes_the_difference(line: str, other: str) -> None:
    assert normalised(line) != normalised(other)


@pytest.mark.parametrize(
    ("line", "comment"),
    [
        ("x = 1  # a # b", "# a # b"),
        ("x = '#' + \"#\"", None),
        ("x = 'it\\'s # no' # yes", "# yes"),
        ('f"{x # y}"', None),
        ("x = '''open # string", None),
        ("", None),
    ],
)
def test_a_comment_is_not_in_a_string(line: str, comment: str | None) -> None:
    assert comment_of(line) == comment


def test_what_is_no_unicode_can_still_be_written() -> None:
    assert normalised("open('\udce4')").encode() == b"open('?')"
