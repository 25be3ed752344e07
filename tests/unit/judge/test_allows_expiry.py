"""An `until` date in an allowance's reason ends the allowance, a malformed one is refused; other words do nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

import syncwatch
from syncwatch.attribute.causes import CAUSES
from syncwatch.errors import UsageError
from syncwatch.judge.allows import allows_in, reason_and_day
from syncwatch.model.verdict import Outcome, Reason
from tests.helpers.judging import site, verdict_on

PAST = date(2020, 1, 1)


@pytest.mark.parametrize(
    "text",
    [
        "slow path until 2020-01-01",
        "slow path until=2020-01-01",
        "slow path until: 2020-01-01",
        "slow path until : 2020-01-01",
        "slow path (until 2020-01-01)",
        "slow path Until 2020-01-01",
        "until=2020-01-01 slow path",
    ],
)
def test_a_day_in_the_words_is_the_end(text: str) -> None:
    assert reason_and_day(text, "app.py:3") == ("slow path", PAST)
    (allow,) = allows_in("app.py", f"x.item()  # syncwatch: allow[SW101] {text}\n", CAUSES)
    assert (allow.reason, allow.until) == ("slow path", PAST)


def test_what_follows_the_day_stays() -> None:
    assert reason_and_day("slow path until 2020-01-01, see #12", "") == ("slow path, see #12", PAST)
    assert reason_and_day("a until 2027-01-01 b until 2020-01-01", "") == ("a b", PAST)


@pytest.mark.parametrize(
    "text", ["wait until the cache is warm", "until 8192 tokens are there", "until 2048 tokens", "untilled", "until"]
)
def test_other_words_stay_words(text: str) -> None:
    assert reason_and_day(text, "") == (text, None)


@pytest.mark.parametrize(
    "day",
    ["2020-13-01", "2020-02-30", "1/3/2027", "01.03.2027", "2027", "2027-03", "20270301", "March 2027", "1 March 2027"],
)
def test_a_date_that_cannot_be_read_is_refused_with_its_place(day: str) -> None:
    with pytest.raises(UsageError, match=r"app\.py:1: '.*' is no date\. Write it as until=2027-03-01\."):
        allows_in("app.py", f"x.item()  # syncwatch: allow[SW101] slow path until {day}\n", CAUSES)
    with pytest.raises(UsageError, match="is no date"):
        syncwatch.allow(f"slow path until {day}")


def test_a_block_whose_day_is_over_fails_the_gate() -> None:
    allowed = replace(site(), allowed="slow path until 2020-01-01")
    found = verdict_on(allowed)
    assert found.outcome is Outcome.OVER
    assert [ruling.reason for ruling in found.rulings] == [Reason.EXPIRED_ALLOW]
    assert verdict_on(allowed, today=PAST).outcome is Outcome.CLEAN
