"""Answers: may each line of one variant wait? Its allows first, then its level, then the baseline or the budget."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from syncwatch.judge.allows import covering, expired
from syncwatch.judge.baseline import entries_of, excess, key_of
from syncwatch.judge.policy import level_of
from syncwatch.model.finding import NO_LINE, Site, Variant
from syncwatch.model.verdict import Allow, KnownSite, Level, Policy, Reason, Ruling, Severity, SiteKey


@dataclass(slots=True)
class Sorted:
    """The sites of one variant, by what the allows and levels say of them."""

    rulings: list[Ruling] = field(default_factory=list)
    """On the sites that need no further question."""
    disallowed: list[tuple[Site, str]] = field(default_factory=list)
    """Each with the rule that says so."""
    used: set[Allow] = field(default_factory=set)

    @property
    def syncs(self) -> float:
        """The disallowed synchronizations a step."""
        return sum(site.calls_per_step for site, _ in self.disallowed)


def sort_sites(variant: Variant, policy: Policy, allows: Sequence[Allow], today: date) -> Sorted:
    """Return the sites of `variant`, those that are settled with their ruling."""
    found = Sorted()
    for site in variant.sites:
        entries = covering(site, allows)
        found.used.update(entries)
        valid = [entry for entry in entries if not expired(entry, today)]
        if site.allowed is not None or valid:
            reason = site.allowed if site.allowed is not None else valid[0].reason
            found.rulings.append(_ruling(Severity.NOTE, Reason.ALLOWED, site, variant, f"allowed: {reason}"))
        elif entries:
            said = f"the allow at {entries[0].file}:{entries[0].line} ended on {entries[0].until} ({entries[0].reason})"
            found.rulings.append(_ruling(Severity.FAIL, Reason.EXPIRED_ALLOW, site, variant, said))
        else:
            _by_level(found, site, variant, policy)
    return found


def _by_level(found: Sorted, site: Site, variant: Variant, policy: Policy) -> None:
    ruled = level_of(site, policy)
    if ruled.level is Level.DISALLOW:
        found.disallowed.append((site, ruled.by))
    elif ruled.level is Level.LOG:
        found.rulings.append(_ruling(Severity.WARN, Reason.LOGGED, site, variant, f"logged by {ruled.by}"))
    elif not ruled.default:
        found.rulings.append(_ruling(Severity.NOTE, Reason.ALLOWED, site, variant, f"allowed by {ruled.by}"))


def by_budget(found: Sorted, variant: Variant, policy: Policy) -> Iterator[Ruling]:
    """Yield the rulings on the disallowed sites where there is no baseline: together they keep the budget or not."""
    limit = policy.budgets.syncs or 0.0
    over = not found.syncs <= limit
    for site, by in found.disallowed:
        if over:
            yield _ruling(Severity.FAIL, Reason.NOT_ALLOWED, site, variant, f"disallowed by {by}", limit=0.0)
        else:
            yield _ruling(Severity.NOTE, Reason.WITHIN_BUDGET, site, variant, f"within the budget of {limit:g}")


def by_baseline(found: Sorted, variant: Variant, known: Mapping[SiteKey, KnownSite], target: str) -> Iterator[Ruling]:
    """Yield the rulings on the disallowed sites where there is a baseline, of which `known` is this variant's part."""
    by_key: dict[SiteKey, list[Site]] = defaultdict(list)
    for site, _ in found.disallowed:
        by_key[key_of(site)].append(site)
    now = _now(found, variant, target)
    for key, sites in by_key.items():
        yield from _against(known.get(key), now[key], sites, variant)


def _against(before: KnownSite | None, now: KnownSite, sites: Sequence[Site], variant: Variant) -> Iterator[Ruling]:
    if before is None:
        for site in sites:
            said = "new: it is not in the baseline"
            yield _ruling(Severity.FAIL, Reason.NEW_SITE, site, variant, said, limit=0.0)
        return
    more = excess(now, before)
    # Equal lines cannot be told apart; the last ones stand for what is new.
    ordered = sorted(sites, key=lambda site: site.line)
    surplus = 0 if more is None else max(1, now.sites - before.sites)
    for index, site in enumerate(ordered):
        if more is None or index < len(ordered) - surplus:
            yield _ruling(Severity.NOTE, Reason.KNOWN, site, variant, "in the baseline")
        else:
            measured, limit, noun = more
            said = f"{measured:g} {_plural(noun, measured)}, the baseline knows {limit:g}"
            yield _ruling(Severity.FAIL, Reason.RISEN, site, variant, said, measured=measured, limit=limit)


def gone(
    found: Sorted, variant: Variant, known: Mapping[SiteKey, KnownSite], target: str, *, strict: bool
) -> Iterator[Ruling]:
    """Yield a ruling for each entry of `known` that has more lines or calls than were seen."""
    now = _now(found, variant, target)
    for key, before in known.items():
        after = now.get(key)
        if after is None:
            said, measured, limit = "no longer waits or is allowed now", 0.0, before.calls_per_step
        elif fewer := excess(before, after):
            limit, measured, noun = fewer
            said = f"{measured:g} {_plural(noun, measured)} left of {limit:g}"
        else:
            continue
        why = f"{said}. Lower the baseline: --update-baseline."
        yield Ruling(
            severity=Severity.FAIL if strict else Severity.WARN,
            reason=Reason.GONE,
            message=f"{_known_as(key)}: {why}",
            why=why,
            variant=variant.name,
            key=key,
            file=key.path,
            measured=measured,
            limit=limit,
        )


def _now(found: Sorted, variant: Variant, target: str) -> dict[SiteKey, KnownSite]:
    return {entry.key: entry for entry in entries_of(target, variant.name, [site for site, _ in found.disallowed])}


def _ruling(
    severity: Severity,
    reason: Reason,
    site: Site,
    variant: Variant,
    said: str,
    *,
    measured: float | None = None,
    limit: float | None = None,
) -> Ruling:
    return Ruling(
        severity=severity,
        reason=reason,
        message=f"{_named(site)}: {said}.",
        why=f"{said}.",
        variant=variant.name,
        site=site,
        key=key_of(site),
        file=None if site.file == NO_LINE else site.file,
        line=site.line or None,
        measured=site.calls_per_step if measured is None else measured,
        limit=limit,
    )


def _named(site: Site) -> str:
    if site.file == NO_LINE:
        return f"{site.code} (no Python line: {site.waiter})"
    place = f"{site.file}:{site.line}" if site.line else site.file
    place = place if site.exact_line else f"defined at {place}"
    return f"{site.code} in {site.function} ({place})" if site.function else f"{site.code} ({place})"


def _known_as(key: SiteKey) -> str:
    if key.path == NO_LINE:
        return f"{key.code} (no Python line: {key.source})" if key.source else f"{key.code} (no Python line)"
    return f"{key.code} in {key.function} ({key.path})" if key.function else f"{key.code} ({key.path})"


def _plural(noun: str, count: float) -> str:
    first, _, rest = noun.partition(" ")
    if count == 1:
        return noun
    return f"{first}s {rest}" if first == "call" else f"{noun}s"
