"""The level that a site has under a policy, the rule that says so, and the rules that speak of nothing in this run.

That nothing waited where a rule points is as it should be, and is not said. That no such range, file or sensor
took part is: a name that is spelled wrong looks the same as health.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache

from pathspec import GitIgnoreSpec

from syncwatch.model.events import SyncKind
from syncwatch.model.report import NO_LINE, RecordingSummary, Report, Site
from syncwatch.model.session import DeviceKind, RecordedBy
from syncwatch.model.verdict import Level, Policy, Reason, Rule, Ruling, Severity

_LOOSENESS = {Level.ALLOW: 0, Level.LOG: 1, Level.DISALLOW: 2}


@dataclass(frozen=True, slots=True)
class LevelDecision:
    """A level and where it comes from."""

    level: Level
    by: str
    """Whom to ask, in words: a rule of the policy, as `causes."SW3"`, or a default."""
    default: bool
    """Whether no rule spoke of it."""


def level_of(site: Site, policy: Policy, *, outside: bool = False) -> LevelDecision:
    """Return the level of `site`: a range says more than a path, a path more than a cause, a cause more than a default.

    What the user asked for, and calls of the allocator, are only ever loosened by a range or a path: the causes and the
    defaults say whether they fail. Of calls in several nests of ranges the strictest counts: a line that may wait in
    one of them may not wait in all. Outside every step, `outside_steps` loosens what the rules say, and never tightens.
    """
    nests = site.nests or (site.ranges,)
    ruled = max((_level_in(site, nest, policy) for nest in nests), key=lambda ruled: _LOOSENESS[ruled.level])
    if outside and _LOOSENESS[policy.outside_steps] < _LOOSENESS[ruled.level]:
        return LevelDecision(policy.outside_steps, "outside_steps", default=False)
    return ruled


def _level_in(site: Site, nest: Sequence[str], policy: Policy) -> LevelDecision:
    scoped = _by_range(nest, policy.ranges) or _by_path(site, policy.paths)
    base = _by_cause(site, policy.causes) or _default(site, policy)
    if scoped is None:
        return base
    apart = site.explicit or site.kind is SyncKind.ALLOCATION
    if apart and _LOOSENESS[scoped.level] > _LOOSENESS[base.level]:
        return base
    return scoped


def matches_path(file: str, pattern: str) -> bool:
    """Return whether `pattern` matches `file`, as a line of .gitignore would."""
    return _compiled(pattern).match_file(file)


def matches_code(code: str, pattern: str) -> bool:
    """Return whether `pattern` is `code` or the beginning of it."""
    return code.startswith(pattern)


def is_path_pattern(pattern: str) -> bool:
    """Return whether `pattern` can match a file at all; negations and comments of .gitignore cannot."""
    try:
        return [each.include for each in GitIgnoreSpec.from_lines([pattern]).patterns] == [True]
    except ValueError:
        return False


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> GitIgnoreSpec:
    return GitIgnoreSpec.from_lines([pattern])


def _by_range(nest: Sequence[str], rules: Sequence[Rule]) -> LevelDecision | None:
    for name in reversed(nest):
        for rule in reversed(rules):
            if fnmatchcase(name, rule.pattern):
                return _ruled("ranges", rule)
    return None


def _by_path(site: Site, rules: Sequence[Rule]) -> LevelDecision | None:
    for rule in reversed(rules):
        if matches_path(site.file, rule.pattern):
            return _ruled("paths", rule)
    return None


def _by_cause(site: Site, rules: Sequence[Rule]) -> LevelDecision | None:
    matching = [rule for rule in rules if matches_code(site.code, rule.pattern)]
    return _ruled("causes", max(matching, key=lambda rule: len(rule.pattern))) if matching else None


def _default(site: Site, policy: Policy) -> LevelDecision:
    if site.kind is SyncKind.ALLOCATION:
        # Counted apart from the synchronizations, and a matter of how full the GPU is.
        return LevelDecision(Level.ALLOW, "the default for allocator calls", default=True)
    if site.explicit:
        return LevelDecision(policy.explicit, "the default for explicit waits", default=True)
    return LevelDecision(policy.implicit, "the default for implicit waits", default=True)


def _ruled(table: str, rule: Rule) -> LevelDecision:
    return LevelDecision(rule.level, f'{table}."{rule.pattern}"', default=False)


_ALLOCATOR, _LIBRARY = "SW6", "SW502"
_SEE_LIBRARIES = frozenset({"runtime_calls", "cupti"})
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class RunFiles:
    """What is known of the files of a run."""

    took_part: Collection[str]
    """Those that were imported, or are recorded."""
    elsewhere: Collection[str] = ()
    """Others that rules may allow to wait: another program of the project runs them."""


def judge_rules(
    report: Report, variants: Sequence[RecordingSummary], policy: Policy, files: RunFiles | None
) -> Iterator[Ruling]:
    """Yield a ruling for each rule that could match nothing in this run.

    Args:
        report: what was found.
        variants: those that are judged.
        policy: with the rules.
        files: of the run; None where they are not known, as of a saved one.
    """
    yield from _ranges(variants, policy)
    if files is not None:
        yield from _paths(report, policy, files)
    for variant in variants:
        yield from _causes(report, variant, policy)


def _ranges(variants: Sequence[RecordingSummary], policy: Policy) -> Iterator[Ruling]:
    names = dict.fromkeys(name for variant in variants for name in _entered(variant))
    for rule in policy.ranges:
        if not any(fnmatchcase(name, rule.pattern) for name in names):
            # Our own steps are in every list, and are nobody's slip of the pen.
            shown = [f'"{name}"' for name in names if not name.startswith("syncwatch.")][:_SHOWN]
            had = f"the run had {', '.join(shown)}" if shown else "the run had no range of its own"
            said = f"No range that {_named('ranges', rule)} matches was entered in this run; {had}."
            yield _unmatched(said, policy)


def _entered(variant: RecordingSummary) -> Iterator[str]:
    yield from variant.ranges
    for site in (*variant.sites, *variant.outside_sites):
        yield from site.ranges


def _paths(report: Report, policy: Policy, files: RunFiles) -> Iterator[Ruling]:
    known = {*files.took_part, *(site.file for site in report.places if site.file != NO_LINE)}
    for rule in policy.paths:
        may = known if rule.level is Level.DISALLOW else known.union(files.elsewhere)
        if not any(matches_path(file, rule.pattern) for file in may):
            said = f"No file that {_named('paths', rule)} matches took part in this run."
            yield _unmatched(said, policy)


def _causes(report: Report, variant: RecordingSummary, policy: Policy) -> Iterator[Ruling]:
    unseen = dict(_unseen(report, variant))
    for rule in policy.causes:
        what = next((phrase for code, phrase in unseen.items() if rule.pattern.startswith(code)), None)
        if what is None or rule.level is Level.ALLOW or not variant.steps:
            continue
        said = (
            f"{variant.name}: {_named('causes', rule)} was not judged, since {what} are not seen here. "
            "Judge it on a GPU, with CUPTI free: --device cuda."
        )
        if rule.level is Level.DISALLOW or policy.strict:
            yield Ruling(Severity.FAIL, Reason.UNMEASURED, said, said, variant.name)
        else:
            yield Ruling(Severity.WARN, Reason.NOT_JUDGED, said, said, variant.name)


def _unseen(report: Report, variant: RecordingSummary) -> Iterator[tuple[str, str]]:
    """Yield the codes of causes that no sensor of this run could see, with what they are."""
    if variant.per_step.allocator_calls is None:
        yield _ALLOCATOR, "calls of the allocator"
    hooks_alone = report.recorder is RecordedBy.SYNCWATCH and _SEE_LIBRARIES.isdisjoint(variant.coverage.sensors)
    if report.device is DeviceKind.VIRTUAL or hooks_alone:
        yield _LIBRARY, "waits of libraries under torch"


def _named(table: str, rule: Rule) -> str:
    return f'{table}."{rule.pattern}" = "{rule.level.value}"'


def _unmatched(said: str, policy: Policy) -> Ruling:
    severity = Severity.FAIL if policy.strict else Severity.WARN
    return Ruling(severity, Reason.UNMATCHED_RULE, said, said)
