"""The reasons for which a line may wait: read from the source's comments, with the day until which each holds."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import date
from difflib import get_close_matches
from fnmatch import fnmatchcase

from typing_extensions import assert_never

from syncwatch.errors import UsageError
from syncwatch.judge.policy import matches_code, matches_path
from syncwatch.judge.source import comment_of
from syncwatch.model.report import Site
from syncwatch.model.verdict import Allow, Pattern, Statement

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


def reason_and_day(reason: str, place: str) -> tuple[str, date | None]:
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
        return reason_and_day(reason, "")[1]
    except UsageError:
        return None


def _day(text: str, place: str) -> date:
    try:
        if not _ISO.fullmatch(text):
            raise ValueError
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{place}: {text!r} is no date. Write it as until=2027-03-01.") from None


_FORM = "# syncwatch: allow[SW101] the reason"
_DIRECTIVE = re.compile(r"#\s*syncwatch:\s*(?P<word>\w+)(?P<rest>.*)", re.DOTALL)
_CODES = re.compile(r"\s*\[(?P<codes>[^\]]*)\](?P<rest>.*)", re.DOTALL)
_OUTSIDE_A_STATEMENT = (tokenize.COMMENT, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)

Read = Callable[[str], "str | None"]
"""Returns the text of a file that a report names, or None where it cannot be found."""


def allows_of(sites: Iterable[Site], files: Iterable[str], read: Read, codes: Collection[str]) -> tuple[Allow, ...]:
    """Return the allow comments of `files`, and those on the recorded lines of `sites` whose file is not at hand.

    Args:
        sites: what a report names.
        files: every file that took part in the run; comments in them that cover nothing can then be named.
        read: how to get at the text of a file.
        codes: every cause code there is.

    Raises:
        UsageError: if a comment has no reason, no such cause or no such date, with its place.
    """
    found: dict[tuple[str, int], Allow] = {}
    for file in dict.fromkeys(files):
        text = read(file)
        if text is not None:
            found.update({(file, allow.line): allow for allow in allows_in(file, text, codes)})
    for site in sites:
        statement = Statement(site.file, site.line, site.line, (site.source,))
        comment = comment_of(site.source)
        if comment is not None and not any(_speaks_of(allow, site) for allow in found.values()):
            allow = _allow(comment, statement, site.line, codes)
            if allow is not None:
                found[site.file, site.line] = allow
    return tuple(found.values())


def allows_in(file: str, text: str, codes: Collection[str]) -> tuple[Allow, ...]:
    """Return the allow comments of one file; each speaks of the whole statement that it stands in.

    Raises:
        UsageError: as `allows_of` does.
    """
    if "syncwatch:" not in text:
        return ()
    lines = [line.strip() for line in text.split("\n")]
    try:
        placed = list(_comments(text))
    except (tokenize.TokenError, SyntaxError):
        # Written for another Python: each line is its own statement.
        commented = [(number, comment_of(line)) for number, line in enumerate(lines, 1)]
        placed = [(comment, number, number, number) for number, comment in commented if comment is not None]
    found = []
    for comment, row, first, last in placed:
        allow = _allow(comment, Statement(file, first, last, tuple(lines[first - 1 : last])), row, codes)
        if allow is not None:
            found.append(allow)
    return tuple(found)


def _comments(text: str) -> Iterator[tuple[str, int, int, int]]:
    """Yield each comment with its row and the first and last row of its statement."""
    first: int | None = None
    waiting: list[tuple[str, int]] = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            row = token.start[0]
            if first is None:
                # Alone on its line: it covers nothing, and is named as unused.
                yield token.string, row, row, row
            else:
                waiting.append((token.string, row))
        elif token.type == tokenize.NEWLINE:
            start = token.start[0] if first is None else first
            yield from ((comment, row, start, token.start[0]) for comment, row in waiting)
            waiting.clear()
            first = None
        elif first is None and token.type not in _OUTSIDE_A_STATEMENT:
            first = token.start[0]


def _allow(comment: str, statement: Statement, row: int, codes: Collection[str]) -> Allow | None:
    directive = _DIRECTIVE.search(comment)
    if directive is None or not get_close_matches(directive["word"].lower(), ["allow"]):
        return None
    place = f"{statement.file}:{row}"
    named = _CODES.fullmatch(directive["rest"])
    if directive["word"] != "allow" or named is None:
        raise UsageError(f"{place}: {comment!r} is no allow. Write it as `{_FORM}`.")
    causes = tuple(code.strip() for code in named["codes"].split(","))
    for code in causes:
        require_code(code, codes, place)
    reason, until = reason_and_day(named["rest"], place)
    if not reason:
        raise UsageError(f"{place}: the allow gives no reason. Write it as `{_FORM}`.")
    return Allow(causes, reason, until, statement, statement.file, row)


def require_code(pattern: str, codes: Collection[str], place: str) -> None:
    """Refuse a pattern that no cause code begins with.

    Raises:
        UsageError: with the nearest code.
    """
    if pattern.startswith("SW") and any(matches_code(code, pattern) for code in codes):
        return
    near = get_close_matches(pattern, sorted(codes), n=1, cutoff=0.5) if len(pattern) > 4 else []
    advice = f"Did you mean {near[0]}?" if near else "Use a code such as SW101, or the beginning of one, such as SW1."
    raise UsageError(f"{place}: there is no cause {pattern!r}. {advice}")


def _speaks_of(allow: Allow, site: Site) -> bool:
    where = allow.where
    return isinstance(where, Statement) and where.file == site.file and where.first <= site.line <= where.last


def covering(site: Site, allows: Sequence[Allow]) -> list[Allow]:
    """Return every entry that speaks of `site`, expired ones too."""
    return [allow for allow in allows if _covers(allow, site)]


def expired(allow: Allow, today: date) -> bool:
    """Return whether the last day of `allow` is over."""
    return allow.until is not None and today > allow.until


def _covers(allow: Allow, site: Site) -> bool:
    if allow.codes and not any(matches_code(site.code, code) for code in allow.codes):
        return False
    where = allow.where
    if isinstance(where, Statement):
        return _in_statement(site, where)
    if isinstance(where, Pattern):
        return (where.path is None or matches_path(site.file, where.path)) and (
            where.function is None or _is_function(site.function, where.function)
        )
    assert_never(where)


def _in_statement(site: Site, statement: Statement) -> bool:
    if site.file != statement.file or not statement.first <= site.line <= statement.last or not site.exact_line:
        return False
    return site.source in ("", statement.texts[site.line - statement.first])


def _is_function(function: str, pattern: str) -> bool:
    """Return whether `pattern` is of the qualified name, as `Model.forward`, or of the last part of it."""
    return fnmatchcase(function, pattern) or fnmatchcase(function.rpartition(".")[2], pattern)
