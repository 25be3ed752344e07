"""Answers: which lines waited only while the target warmed up? One short block, since no step pays for them."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from syncwatch.model.finding import Variant
from syncwatch.report import text
from syncwatch.report.finding import hanging, place_of

_MAX_SITES = 8


def only_in_warmup(variant: Variant, console: Console) -> Iterator[Text]:
    """Yield a line for each site that no measured step has, and how many more there are."""
    if not variant.warmup_sites:
        return
    yield Text("only in warm-up:")
    for site in variant.warmup_sites[:_MAX_SITES]:
        first = Text.assemble("  ", (site.code, "bold"), " ")
        place = place_of(site, console.width - len(site.code) - 3)
        yield from hanging(first, Text(f"{place} · {text.plural(site.calls, 'call')}"), console)
    rest = len(variant.warmup_sites) - _MAX_SITES
    if rest > 0:
        yield Text(f"  and {text.plural(rest, 'more line')}; `--format json` has them all")
