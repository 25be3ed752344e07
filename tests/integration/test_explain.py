"""`syncwatch explain`, as a person types it."""

from __future__ import annotations

import pytest

from syncwatch.attribute.causes import CAUSES
from tests.helpers.command import syncwatch


def test_a_page_says_what_why_and_what_instead() -> None:
    ended = syncwatch("explain", "sw101")

    assert ended.code == 0
    headings = ("What it does", "Why it waits", "Example", "Use instead", "References")
    assert [line for line in ended.out.splitlines() if line in headings] == list(headings)
    assert CAUSES["SW101"].example in ended.out and CAUSES["SW101"].use_instead in ended.out
    assert all(reference in ended.out for reference in CAUSES["SW101"].references)


def test_without_a_code_every_cause_is_listed() -> None:
    ended = syncwatch("explain")

    assert [line.split()[0] for line in ended.out.splitlines()] == list(CAUSES)


@pytest.mark.parametrize(("code", "near"), [("SW110", "SW1"), ("sw2001", "SW20"), ("", "SW"), ("\x1b[31m", "SW")])
def test_an_unknown_code_is_refused_with_the_nearest(code: str, near: str) -> None:
    ended = syncwatch("explain", code)

    assert ended.code == 2 and "Traceback" not in ended.err
    assert f"The nearest is {near}" in ended.err and "\x1b" not in ended.err
