"""Until which day a reason holds. It may say so in its own words: "slow path until 2027-03-01"."""

from __future__ import annotations

import re
from datetime import date

from syncwatch.errors import UsageError

_UNTIL = re.compile(r"(?P<open>\()?\buntil\b(?P<sign>\s*[=:]\s*|\s+)(?P<rest>.*)", re.IGNORECASE | re.DOTALL)
_ISO = re.compile(r"(?P<day>\d{4}-\d{2}-\d{2})(?P<end>[),.;:!]*)(?=\s|$)")
_MONTH = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
_LIKE_A_DATE = re.compile(
    rf"""
    \d+ [-/.] \d+ [-/.] \d+                                                     # 1/3/2027, 2027-13-01
    | 20[2-9]\d (?: [-/.] \d+ | [01]\d[0-3]\d )? \b (?! \s* [a-z] )             # 2027, 2027-03; not 2048 tokens
    | (?: (?: the \s+ )? (?: end | start | beginning | \d+ (?: st|nd|rd|th )? ) (?: \s+ of )? \s+ )?
      (?: {_MONTH} ) [a-z]* [.,]? \s+ \d                                        # March 2027, 1 March 2027, Mar 1
    """,
    re.IGNORECASE | re.VERBOSE,
)


def split(reason: str, place: str) -> tuple[str, date | None]:
    """Return `reason` without the day that it ends on, and that day, the first of several; None where it names none.

    Args:
        reason: as it was written; "until the cache is warm" are words and stay.
        place: where it is written, for the refusal.

    Raises:
        UsageError: if there is a date that cannot be read.
    """
    days: list[date] = []
    kept, rest = "", reason
    while (found := _UNTIL.search(rest)) is not None:
        before, after = rest[: found.start()], found["rest"]
        iso = _ISO.match(after)
        signed = "=" in found["sign"]
        if iso is None and not signed and not _LIKE_A_DATE.match(after):
            kept += rest[: found.start("rest")]
            rest = after
            continue
        days.append(_day(iso["day"] if iso else after.split(maxsplit=1)[0] if after.strip() else "", place))
        assert iso is not None
        ending = iso["end"].replace(")", "", 1) if found["open"] else iso["end"]
        kept += before.rstrip() + ending
        rest = after[iso.end() :]
    return (kept + rest).strip(), min(days, default=None)


def day_in(reason: str) -> date | None:
    """Return the day that a recorded `reason` ends on; None where it names none, or none that can be read."""
    try:
        return split(reason, "")[1]
    except UsageError:
        return None


def _day(text: str, place: str) -> date:
    try:
        if not _ISO.fullmatch(text):
            raise ValueError
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{place}: {text!r} is no date. Write it as until=2027-03-01.") from None
