"""Finds the reason that covers a site, if any, and whether it still holds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from fnmatch import fnmatchcase

from typing_extensions import assert_never

from syncwatch.judge.policy import matches_code, matches_path
from syncwatch.model.finding import Site
from syncwatch.model.verdict import Allow, Pattern, Statement


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
