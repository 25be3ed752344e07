"""Which rule of a policy decides about a wait: by range, path, cause or default."""

from __future__ import annotations

from dataclasses import replace

import pytest

from syncwatch.judge.policy import is_path_pattern, level_of
from syncwatch.model.events import SyncKind
from syncwatch.model.verdict import Level, Policy, Rule
from tests.helpers.judging import site

ALLOW, LOG, DISALLOW = Level.ALLOW, Level.LOG, Level.DISALLOW


def rules(**levels: Level) -> tuple[Rule, ...]:
    return tuple(Rule(pattern, level) for pattern, level in levels.items())


def test_the_longest_cause_wins() -> None:
    policy = Policy(causes=rules(SW101=ALLOW, SW1=LOG))
    assert [level_of(site(code=code), policy).level for code in ("SW101", "SW102", "SW201")] == [ALLOW, LOG, DISALLOW]


@pytest.mark.parametrize(
    ("pattern", "file", "matches"),
    [
        ("tests/**", "tests/unit/test_a.py", True),
        ("tests/", "tests/unit/test_a.py", True),
        ("*.py", "app/train.py", True),
        ("**/train.py", "train.py", True),
        ("/train.py", "app/train.py", False),
        ("app/*.py", "app/deep/train.py", False),
        ("app/tr[xy]in.py", "app/train.py", False),
        ("app/tr[ai]in.py", "app/train.py", True),
    ],
)
def test_paths_match_as_in_gitignore(pattern: str, file: str, matches: bool) -> None:
    policy = Policy(paths=(Rule(pattern, LOG),))
    assert (level_of(site(file=file), policy).level is LOG) is matches


def test_the_last_path_wins() -> None:
    policy = Policy(paths=(Rule("app/**", LOG), Rule("app/train.py", ALLOW), Rule("*.cfg", LOG)))
    assert level_of(site(), policy).level is ALLOW
    assert level_of(site(), policy).by == 'paths."app/train.py"'


def test_the_innermost_range_with_a_rule_wins() -> None:
    policy = Policy(ranges=(Rule("decode*", LOG), Rule("request", ALLOW)))
    assert level_of(site(ranges=("request", "decode 3", "layer")), policy).level is LOG
    assert level_of(site(ranges=("decode 3", "request")), policy).level is ALLOW
    assert level_of(site(ranges=("layer",)), policy).level is DISALLOW


def test_a_range_before_a_path_before_a_cause_before_the_default() -> None:
    everywhere = site(ranges=("decode",))
    policy = Policy(implicit=ALLOW)
    assert level_of(everywhere, policy).level is ALLOW
    policy = Policy(implicit=ALLOW, causes=rules(SW1=LOG))
    assert level_of(everywhere, policy).level is LOG
    policy = Policy(implicit=ALLOW, causes=rules(SW1=LOG), paths=(Rule("app/", DISALLOW),))
    assert level_of(everywhere, policy).level is DISALLOW
    policy = Policy(causes=rules(SW1=LOG), paths=(Rule("app/", DISALLOW),), ranges=rules(decode=ALLOW))
    assert level_of(everywhere, policy).level is ALLOW


def test_what_was_asked_for_is_only_loosened_by_place() -> None:
    asked = site(code="SW401", explicit=True)
    strict, lax = Rule("app/", DISALLOW), Rule("app/", ALLOW)
    assert level_of(asked, Policy(paths=(strict,))).level is LOG
    assert level_of(asked, Policy(paths=(lax,))).level is ALLOW
    assert level_of(asked, Policy(explicit=DISALLOW, paths=(lax,))).level is ALLOW
    assert level_of(asked, Policy(causes=rules(SW4=DISALLOW))).level is DISALLOW


def test_calls_of_the_allocator_pass_unless_a_rule_names_them() -> None:
    call = replace(site(code="SW601"), kind=SyncKind.ALLOCATION)
    assert level_of(call, Policy()).level is ALLOW
    assert level_of(call, Policy(paths=(Rule("app/", DISALLOW),))).level is ALLOW
    assert level_of(call, Policy(causes=rules(SW6=DISALLOW))).level is DISALLOW


@pytest.mark.parametrize("pattern", ["", " ", "#x", "!x", "[ab", "[]", "/", "a\\"])
def test_a_pattern_that_matches_nothing_is_known(pattern: str) -> None:
    assert not is_path_pattern(pattern)
