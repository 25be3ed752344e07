"""What a cause is: a stable code, a sentence, a hint, and the page that the docs, SARIF and `explain` print of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from syncwatch.model.report import RuleHelp


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


def markdown_of(cause: Cause, *, level: int = 2) -> str:
    """Return the page of `cause`, its heading at `level`, ending in a newline."""
    parts = [
        f"{'#' * level} {cause.code}: {cause.title}",
        f"{cause.hint[0].upper()}{cause.hint[1:]}",
        f"**What it does.** {cause.what_it_does}",
        f"**Why it waits.** {cause.why_it_waits}",
        f"**Example**\n\n```python\n{cause.example}\n```",
        f"**Use instead**\n\n```python\n{cause.use_instead}\n```",
    ]
    if cause.references:
        parts.append("**References**\n\n" + "\n".join(f"- <{reference}>" for reference in cause.references))
    return "\n\n".join(parts) + "\n"


def rule_help(causes: Mapping[str, Cause]) -> dict[str, RuleHelp]:
    """Return the help of each of `causes`, as SARIF shows it."""
    return {
        code: RuleHelp(cause.title, cause.what_it_does, markdown_of(cause), next(iter(cause.references), None))
        for code, cause in causes.items()
    }


def document_of(causes: Iterable[Cause]) -> str:
    """Return one document of every page, with a list to find them by."""
    known = list(causes)
    rows = [f"| [{cause.code}](#{_anchor(cause)}) | {cause.title} |" for cause in known]
    head = [
        "# Why the host waits",
        "Every wait that syncwatch finds has one of these causes. The codes never change; policies, baselines and "
        "`# syncwatch: allow[CODE] reason` name them, and `syncwatch explain CODE` prints the same page.",
        "\n".join(["| code | cause |", "|---|---|", *rows]),
    ]
    return "\n\n".join(head) + "\n\n" + "\n".join(markdown_of(cause) for cause in known)


def _anchor(cause: Cause) -> str:
    """Return what GitHub calls the heading: lower case, blanks as hyphens, other marks left out."""
    kept = "".join(mark for mark in f"{cause.code}: {cause.title}".lower() if mark.isalnum() or mark in " -_")
    return kept.replace(" ", "-")
