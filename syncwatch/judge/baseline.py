"""Knows a site while the code around it moves, and says whether it has more lines or calls than before."""

from __future__ import annotations

import hashlib
import math
import posixpath
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from syncwatch.judge.source import normalised, valid
from syncwatch.model.report import NO_LINE, RecordingSummary, Site
from syncwatch.model.verdict import KnownSite, SiteKey


def key_of(site: Site) -> SiteKey:
    """Return what `site` is known by: no line number, so that moving code changes nothing.

    A site without a line has its runtime call and its range in place of the source.
    """
    source = valid(site.waiter) if site.file == NO_LINE else normalised(site.source)
    return SiteKey(valid(site.file), valid(site.function), site.code, source)


def fingerprint(key: SiteKey) -> str:
    """Return a short name for `key` that stays the same from run to run, 32 hexadecimal digits."""
    text = "\0".join((key.path, key.function, key.code, key.source))
    return hashlib.sha256(text.encode("utf-8", errors="replace")).hexdigest()[:32]


def fingerprint_of(site: Site) -> str:
    """Return the fingerprint of the key of `site`."""
    return fingerprint(key_of(site))


def scope_of(target: str) -> str:
    """Return the name that entries of `target` have: `./train.py` and `train.py` are one, and no path is absolute."""
    path = posixpath.normpath(valid(target).replace("\\", "/"))
    return posixpath.basename(path) if posixpath.isabs(path) else path


def variant_scope(variant: RecordingSummary) -> str:
    """Return the name that entries of `variant` have, be it a variant or a process."""
    return valid(variant.scope)


def outside_scope(scope: str) -> str:
    """Return the name that entries of `scope` have outside every step: there calls are of the whole run."""
    return f"{scope} (outside every step)"


def larger(entry: KnownSite, other: KnownSite) -> KnownSite:
    """Return which of two entries of one key knows of more lines, or of more calls."""
    return max(entry, other, key=lambda each: (each.sites, each.calls_per_step))


def entries_of(target: str, scope: str, sites: Iterable[Site]) -> tuple[KnownSite, ...]:
    """Return one entry for each key among `sites`, with the number of its lines and their calls a step.

    Args:
        target: what ran.
        scope: the name that entries of the variant have, as `variant_scope` or `outside_scope` gives it.
        sites: to be known.
    """
    grouped: dict[SiteKey, list[Site]] = defaultdict(list)
    for site in sites:
        grouped[key_of(site)].append(site)
    return tuple(
        KnownSite(scope_of(target), scope, key, len(same), math.fsum(each.calls_per_step for each in same))
        for key, same in grouped.items()
    )


def entries_for(baseline: Sequence[KnownSite], target: str, scope: str) -> Mapping[SiteKey, KnownSite]:
    """Return the entries for one scope of `target`; where a merge left two for one key, the larger one counts."""
    known: dict[SiteKey, KnownSite] = {}
    for entry in baseline:
        if entry.target == scope_of(target) and entry.variant == scope:
            known[entry.key] = larger(known.get(entry.key, entry), entry)
    return known


class Figure(str, Enum):
    """What a baseline counts of a key."""

    LINES = "such line"
    CALLS = "call"

    def words(self, count: float, *, outside: bool) -> str:
        """Return `count` of it in words; outside every step the calls are those of the whole run."""
        counted = f"{count:g} {self.value}{'' if count == 1 else 's'}"
        return counted if self is Figure.LINES else f"{counted} {'in the run' if outside else 'a step'}"


@dataclass(frozen=True, slots=True)
class Excess:
    """Of what there is more than before."""

    figure: Figure
    measured: float
    known: float


def excess(now: KnownSite, before: KnownSite) -> Excess | None:
    """Return of what `now` has more than `before`; None where that is nothing."""
    if now.sites > before.sites:
        return Excess(Figure.LINES, now.sites, before.sites)
    if exceeds(now.calls_per_step, before.calls_per_step):
        return Excess(Figure.CALLS, now.calls_per_step, before.calls_per_step)
    return None


def exceeds(left: float, right: float) -> bool:
    """Return whether `left` is more than `right`, and not by rounding."""
    # Seven calls in three steps are no exact number.
    return left > right and not math.isclose(left, right, rel_tol=1e-9)
