"""The level that a site has under a policy, and the rule that says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache

from pathspec import GitIgnoreSpec

from syncwatch.model.events import SyncKind
from syncwatch.model.finding import Site
from syncwatch.model.verdict import Level, Policy, Rule

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
