"""Writes a cause as a page: one Markdown text for the docs, the SARIF rules and `explain`."""

from __future__ import annotations

from collections.abc import Iterable

from syncwatch.attribute.causes import CAUSES
from syncwatch.attribute.causes.base import Cause
from syncwatch.model.finding import RuleHelp


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


def rule_help() -> dict[str, RuleHelp]:
    """Return the help of every cause, as SARIF shows it."""
    return {
        code: RuleHelp(cause.title, cause.what_it_does, markdown_of(cause), next(iter(cause.references), None))
        for code, cause in CAUSES.items()
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
