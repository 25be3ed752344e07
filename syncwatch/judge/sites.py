"""Judges whether each line of one variant may wait: its allows, then its level, then the baseline or the budget.

The lines that wait outside every step are asked apart from those of the steps: their calls are those of the whole run,
no budget of a step speaks of them, and the baseline knows them by another name.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from syncwatch.judge.allows import covering, day_in, expired
from syncwatch.judge.baseline import entries_of, excess, key_of, outside_scope, variant_scope
from syncwatch.judge.policy import level_of
from syncwatch.model.report import NO_LINE, RecordingSummary, Site
from syncwatch.model.verdict import Allow, KnownSite, Level, Policy, Reason, Ruling, Severity, SiteKey

_ADVICE = (
    '. Mark it with syncwatch.step(warmup=True), allow it with a reason, or set outside_steps = "log" in the policy'
)


@dataclass(slots=True)
class SiteGroups:
    """The sites of one variant, by what the allows and levels say of them."""

    variant: RecordingSummary
    outside: bool
    """Whether these are the ones outside every step."""
    rulings: list[Ruling] = field(default_factory=list)
    """On the sites that need no further question."""
    disallowed: list[tuple[Site, str]] = field(default_factory=list)
    """Each with the rule that says so."""
    used: set[Allow] = field(default_factory=set)

    @property
    def syncs(self) -> float:
        """The disallowed synchronizations a step, on average."""
        return sum(site.calls_per_step for site, _ in self.disallowed)

    @property
    def most_syncs(self) -> float:
        """The disallowed synchronizations of the step that has the most."""
        by_step: Counter[int] = Counter()
        for site, _ in self.disallowed:
            steps = (calls for calls, times in site.calls_by_step for _ in range(times))
            by_step.update({number: calls for number, calls in enumerate(steps) if calls})
        return max(self.syncs, *by_step.values(), 0)

    @property
    def scope(self) -> str:
        """The name that baseline entries of these have."""
        scope = variant_scope(self.variant)
        return outside_scope(scope) if self.outside else scope


def sort_sites(
    variant: RecordingSummary, policy: Policy, allows: Sequence[Allow], today: date, *, outside: bool = False
) -> SiteGroups:
    """Return the sites of `variant`, those that are settled with their ruling.

    Args:
        variant: whose.
        policy: with the levels.
        allows: the reasons that were given.
        today: the day that expiries are held against.
        outside: whether to take the sites outside every step.
    """
    found = SiteGroups(variant, outside)
    for site in variant.outside_sites if outside else variant.sites:
        entries = covering(site, allows)
        found.used.update(entries)
        valid = [entry for entry in entries if not expired(entry, today)]
        ended = None if site.allowed is None else day_in(site.allowed)
        if ended is not None and today > ended:
            said = f"the allow around it ended on {ended} ({site.allowed})"
            found.rulings.append(_ruling(Severity.FAIL, Reason.EXPIRED_ALLOW, site, found, said))
        elif site.allowed is not None or valid:
            reason = site.allowed if site.allowed is not None else valid[0].reason
            found.rulings.append(_ruling(Severity.NOTE, Reason.ALLOWED, site, found, f"allowed: {reason}"))
        elif entries:
            said = f"the allow at {entries[0].file}:{entries[0].line} ended on {entries[0].until} ({entries[0].reason})"
            found.rulings.append(_ruling(Severity.FAIL, Reason.EXPIRED_ALLOW, site, found, said))
        else:
            _by_level(found, site, policy)
    return found


def _by_level(found: SiteGroups, site: Site, policy: Policy) -> None:
    ruled = level_of(site, policy, outside=found.outside)
    if ruled.level is Level.DISALLOW:
        found.disallowed.append((site, ruled.by))
    elif ruled.level is Level.LOG:
        found.rulings.append(_ruling(Severity.WARN, Reason.LOGGED, site, found, f"logged by {ruled.by}"))
    elif not ruled.default:
        found.rulings.append(_ruling(Severity.NOTE, Reason.ALLOWED, site, found, f"allowed by {ruled.by}"))


def by_budget(found: SiteGroups, policy: Policy) -> Iterator[Ruling]:
    """Yield the rulings on the disallowed sites where there is no baseline: together they keep the budget or not."""
    limit = 0.0 if found.outside else policy.budgets.syncs or 0.0
    over = not found.most_syncs <= limit
    for site, by in found.disallowed:
        if over:
            said = f"disallowed by {by}{_ADVICE if found.outside else ''}"
            yield _ruling(Severity.FAIL, Reason.NOT_ALLOWED, site, found, said, limit=0.0)
        else:
            yield _ruling(Severity.NOTE, Reason.WITHIN_BUDGET, site, found, f"within the budget of {limit:g}")


def by_baseline(found: SiteGroups, known: Mapping[SiteKey, KnownSite], target: str) -> Iterator[Ruling]:
    """Yield the rulings on the disallowed sites where there is a baseline, of which `known` is their part."""
    by_key: dict[SiteKey, list[Site]] = defaultdict(list)
    for site, _ in found.disallowed:
        by_key[key_of(site)].append(site)
    now = _now(found, target)
    for key, sites in by_key.items():
        yield from _against(known.get(key), now[key], sites, found)


def _against(before: KnownSite | None, now: KnownSite, sites: Sequence[Site], found: SiteGroups) -> Iterator[Ruling]:
    if before is None:
        for site in sites:
            said = f"new: it is not in the baseline{_ADVICE if found.outside else ''}"
            yield _ruling(Severity.FAIL, Reason.NEW_SITE, site, found, said, limit=0.0)
        return
    more = excess(now, before)
    # Equal lines cannot be told apart; the last ones stand for what is new.
    ordered = sorted(sites, key=lambda site: site.line)
    surplus = 0 if more is None else max(1, now.sites - before.sites)
    for index, site in enumerate(ordered):
        if more is None or index < len(ordered) - surplus:
            yield _ruling(Severity.NOTE, Reason.KNOWN, site, found, "in the baseline")
        else:
            said = f"{more.figure.words(more.measured, outside=found.outside)}, the baseline knows {more.known:g}"
            yield _ruling(Severity.FAIL, Reason.RISEN, site, found, said, measured=more.measured, limit=more.known)


def gone_sites(found: SiteGroups, known: Mapping[SiteKey, KnownSite], target: str, *, strict: bool) -> Iterator[Ruling]:
    """Yield a ruling for each entry of `known` that has more lines or calls than were seen."""
    now = _now(found, target)
    for key, before in known.items():
        after = now.get(key)
        if after is None:
            said, measured, limit = "no longer waits or is allowed now", 0.0, before.calls_per_step
        elif fewer := excess(before, after):
            limit, measured = fewer.measured, fewer.known
            said = f"{fewer.figure.words(measured, outside=found.outside)} left of {limit:g}"
        else:
            continue
        why = f"{said}. Lower the baseline: --update-baseline."
        yield Ruling(
            severity=Severity.FAIL if strict else Severity.WARN,
            reason=Reason.GONE,
            message=f"{_known_as(key)}: {why}",
            why=why,
            variant=found.variant.name,
            key=key,
            file=key.path,
            measured=measured,
            limit=limit,
        )


def _now(found: SiteGroups, target: str) -> dict[SiteKey, KnownSite]:
    return {entry.key: entry for entry in entries_of(target, found.scope, [site for site, _ in found.disallowed])}


def _ruling(
    severity: Severity,
    reason: Reason,
    site: Site,
    found: SiteGroups,
    said: str,
    *,
    measured: float | None = None,
    limit: float | None = None,
) -> Ruling:
    said = f"outside every step, {said}" if found.outside else said
    return Ruling(
        severity=severity,
        reason=reason,
        message=f"{_named(site)}: {said}.",
        why=f"{said}.",
        variant=found.variant.name,
        site=site,
        outside=found.outside,
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
