"""What a cause is: a stable code, a sentence, a hint, and the page that `explain` prints."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cause:
    """One reason for which the host waits."""

    code: str
    """Stable for ever: policies, baselines and comments name it."""
    title: str
    hint: str
    """What to do, one sentence."""
    what_it_does: str
    why_it_waits: str
    example: str
    use_instead: str
    references: tuple[str, ...] = ()
    explicit: bool = False
    """Whether the user asked for the wait, rather than getting it as a side effect."""


def by_code(causes: Iterable[Cause]) -> dict[str, Cause]:
    """Return the causes by code, sorted.

    Raises:
        ValueError: if two causes share a code.
    """
    table: dict[str, Cause] = {}
    for cause in causes:
        if cause.code in table:
            raise ValueError(f"{cause.code} is both {table[cause.code].title!r} and {cause.title!r}")
        table[cause.code] = cause
    return dict(sorted(table.items()))
