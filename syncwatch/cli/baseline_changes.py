"""What an update of the baseline lets through that was not let through before: each entry, in words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from syncwatch.judge.baseline import above, key_of, variant_scope
from syncwatch.judge.baseline_file import Changes
from syncwatch.model.finding import Report
from syncwatch.model.verdict import KnownSite, SiteKey
from syncwatch.report.text import plural, shown

_SHOWN = 40
"""New entries that are listed; the first baseline of a large project has hundreds. What rose is listed whole."""


def sentences(changes: Changes, path: Path, report: Report) -> Iterator[str]:
    """Yield what happened to the baseline at `path`, a line each: how much, then what is new and what rose."""
    counts = (
        (len(changes.added), "new"),
        (len(changes.raised), "raised"),
        (len(changes.lowered), "lowered"),
        (len(changes.removed), "removed"),
    )
    yield f"{shown(str(path))}: {', '.join(f'{count} {word}' for count, word in counts if count) or 'nothing changed'}."
    lines = _lines(report)
    for before, after in changes.raised:
        yield f"  raised {_place(after, lines)}: {_risen(before, after)}"
    for entry in changes.added[:_SHOWN]:
        yield f"  new {_place(entry, lines)}: {_calls(entry.calls_per_step)} a step"
    if len(changes.added) > _SHOWN:
        yield f"  and {len(changes.added) - _SHOWN} more new ones"


def _lines(report: Report) -> dict[tuple[str, SiteKey], list[int]]:
    found: dict[tuple[str, SiteKey], list[int]] = defaultdict(list)
    for variant in report.variants:
        for site in variant.sites:
            found[variant_scope(variant), key_of(site)].append(site.line)
    return found


def _place(entry: KnownSite, lines: dict[tuple[str, SiteKey], list[int]]) -> str:
    key = entry.key
    numbers = sorted(set(lines.get((entry.variant, key), ())) - {0})
    where = f"{key.path}:{','.join(map(str, numbers))}" if numbers else key.path
    return shown(f"{where} {key.code} {key.source}".rstrip())


def _risen(before: KnownSite, after: KnownSite) -> str:
    parts = []
    if after.sites > before.sites:
        parts.append(f"{before.sites} -> {plural(after.sites, 'such line')}")
    if above(after.calls_per_step, before.calls_per_step):
        parts.append(f"{before.calls_per_step:g} -> {_calls(after.calls_per_step)} a step")
    return ", ".join(parts)


def _calls(count: float) -> str:
    return f"{count:g} {'call' if count == 1 else 'calls'}"
