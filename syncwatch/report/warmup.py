"""Shows lines that waited outside the measured steps, only in warm-up or in no step: short blocks, a line each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.text import Text

from syncwatch.model.finding import Site, Variant
from syncwatch.report import text
from syncwatch.report.finding import hanging, place_of

_MAX_SITES = 8


def only_in_warmup(variant: Variant, console: Console) -> Iterator[Text]:
    """Yield a line for each site that no measured step has, and how many more there are."""
    yield from _listed("only in warm-up:", variant.warmup_sites, console)


def outside_steps(variant: Variant, console: Console) -> Iterator[Text]:
    """Yield a line for each site outside every step, which the gate judges by `outside_steps`."""
    yield from _listed("outside every step, in the whole run:", variant.outside_sites, console)


def _listed(heading: str, sites: Sequence[Site], console: Console) -> Iterator[Text]:
    if not sites:
        return
    yield Text(heading)
    for site in sites[:_MAX_SITES]:
        first = Text.assemble("  ", (site.code, "bold"), " ")
        place = place_of(site, console.width - len(site.code) - 3)
        settled = f" (allowed: {text.shown(site.allowed)})" if site.allowed is not None else ""
        asked = " (asked for)" if site.explicit else ""
        yield from hanging(first, Text(f"{place} · {text.plural(site.calls, 'call')}{asked}{settled}"), console)
    rest = len(sites) - _MAX_SITES
    if rest > 0:
        yield Text(f"  and {text.plural(rest, 'more line')}; `--format json` has them all")
