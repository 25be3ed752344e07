"""The policy in syncwatch.toml or pyproject.toml: where it is found, what it may say, and what is refused."""

from __future__ import annotations

import ast
import inspect
import os
from dataclasses import fields
from datetime import date
from pathlib import Path

import pytest

from syncwatch.app.project import config, config_file
from syncwatch.app.project.config import Settings, read_settings
from syncwatch.errors import UsageError
from syncwatch.model.verdict import Allow, Budgets, Level, Pattern, Policy, Rule
from tests.helpers.judging import WHOLE_CONFIG


def read(folder: Path, text: str, name: str = "syncwatch.toml") -> Settings:
    (folder / name).write_text(text)
    return read_settings(folder)


def test_everything_that_can_be_said(tmp_path: Path) -> None:
    settings = read(tmp_path, WHOLE_CONFIG)
    assert settings.policy == Policy(
        implicit=Level.LOG,
        explicit=Level.DISALLOW,
        causes=(Rule("SW101", Level.ALLOW), Rule("SW3", Level.LOG)),
        paths=(Rule("tests/**", Level.ALLOW),),
        ranges=(Rule("decode *", Level.DISALLOW),),
        budgets=Budgets(syncs=2, d2h_bytes=4096.5, gpu_idle_us=10, gain_us=50),
        allows=(
            Allow(
                ("SW101", "SW2"), "once a request", date(2027, 3, 1), Pattern("app/*.py", None), "syncwatch.toml", 23
            ),
            Allow(("SW104",), "logging", None, Pattern(None, "log_*"), "syncwatch.toml", 29),
        ),
        strict=True,
    )
    assert settings.baseline == tmp_path / "ci" / "known.jsonl" and settings.baseline_named
    assert settings.require == ("app.model:Model.forward",)


def test_a_pyproject_says_the_same(tmp_path: Path) -> None:
    own = read(tmp_path, WHOLE_CONFIG).policy
    (tmp_path / "syncwatch.toml").unlink()
    tables = WHOLE_CONFIG.split("\n")
    lines = [f"[tool.syncwatch.{line[1:]}" if line.startswith("[") and line[1] != "[" else line for line in tables]
    text = "[tool.syncwatch]\n" + "\n".join(lines).replace("[[allow", "[[tool.syncwatch.allow")
    shared = read(tmp_path, text, "pyproject.toml").policy
    assert [allow.line for allow in shared.allows] == [24, 30]
    assert shared.causes == own.causes and shared.budgets == own.budgets


def test_the_most_that_a_step_may_gain_can_stand_at_the_top(tmp_path: Path) -> None:
    assert read(tmp_path, "max_gain_us = 50.5\nbudgets.syncs = 2").policy.budgets == Budgets(syncs=2, gain_us=50.5)
    assert read(tmp_path, "budgets.gain_us = 50.5").policy.budgets == Budgets(gain_us=50.5)


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    settings = read_settings(tmp_path)
    assert settings.policy == Policy()
    assert settings.baseline == tmp_path / ".syncwatch-baseline.jsonl" and not settings.baseline_named


def test_the_nearest_file_up_to_the_root_of_the_repository_is_read(tmp_path: Path) -> None:
    inner = tmp_path / "repo" / "app" / "deep"
    inner.mkdir(parents=True)
    (tmp_path / "repo" / ".git").mkdir()
    (tmp_path / "syncwatch.toml").write_text("nonsense = 1")
    assert read_settings(inner).policy == Policy()
    assert read_settings(inner).baseline.parent == tmp_path / "repo"
    (tmp_path / "repo" / "pyproject.toml").write_text("[tool.syncwatch]\nstrict = true\n")
    (tmp_path / "repo" / "app" / "pyproject.toml").write_text("[project]\nname = 'app'\n")
    settings = read_settings(inner)
    assert settings.policy.strict and settings.root == tmp_path / "repo"


def test_outside_a_repository_only_the_folder_itself_counts(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "syncwatch.toml").write_text("strict = true")
    assert not read_settings(tmp_path / "app").policy.strict


def test_a_file_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "syncwatch.toml").write_text("nonsense = 1")
    (tmp_path / "ci.toml").write_text("strict = true")
    assert read_settings(tmp_path, tmp_path / "ci.toml").policy.strict
    with pytest.raises(UsageError, match="Cannot read"):
        read_settings(tmp_path, tmp_path / "gone.toml")
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    with pytest.raises(UsageError, match="no table"):
        read_settings(tmp_path, tmp_path / "pyproject.toml")


def test_two_policies_in_one_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.syncwatch]\n")
    with pytest.raises(UsageError, match="Keep one"):
        read(tmp_path, "strict = true")


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("strict = 1", 1, "strict: expected `bool`"),
        ("\n\nstrikt = true", 3, "Did you mean 'strict'?"),
        ("explicit = 'disalow'", 1, "Did you mean 'disallow'?"),
        ("# why\n[budgets]\nsync = 1", 3, "Did you mean 'syncs'?"),
        ("[budgets]\nsyncs = -1", 2, ">= 0"),
        ("[budgets]\nsyncs = nan", 2, ">= 0"),
        ("budgets = { d2h_bytes = 1, d2h_copes = 2 }", 1, "Did you mean 'd2h_copies'?"),
        ("budgets.syncs = 'two'", 1, "budgets.syncs: expected"),
        ("strict = true\nmax_gain_us = -1", 2, ">= 0"),
        ("max_gain = 3", 1, "Did you mean 'max_gain_us'?"),
        ("max_gain_us = 3\n[budgets]\ngain_us = 4", 1, "budgets.gain_us says the same"),
        ("[causes]\nSW101 = 'log'\n\nSW1O2 = 'log'", 4, "Did you mean SW102?"),
        ("[causes]\nSW7 = 'log'", 2, "no cause 'SW7'"),
        ("[causes]\n'' = 'log'", 2, "no cause ''"),
        ("[causes]\nSW1 = 'loga'", 2, "Did you mean 'log'?"),
        ("[paths]\n'a' = 'log'\n'!b' = 'log'", 3, "matches nothing"),
        ("[paths]\n'a[b' = 'log'", 2, "matches nothing"),
        ("[paths]\n'a.b' = 3", 2, "paths.a.b: expected `str`"),
        ("[ranges]\n' ' = 'log'", 2, "matches nothing"),
        ("require = [\n  'a:b',\n  3,\n]", 1, "require.1: expected `str`"),
        ("[[allow]]\ncode = 'SW1'\nreason = 'a'\n[[allow]]\ncode = 'SW1'\nreson = 'b'", 6, "Did you mean 'reason'?"),
        ("[[allow]]\ncode = 'SW1'", 1, "required field `reason`"),
        ("[[allow]]\ncode = 'SW1'\nreason = ' '", 3, "no reason"),
        ("[[allow]]\nreason = 'a'", 1, "covers everything"),
        ("[[allow]]\nreason = 'a'\ncode = [\n 'SW1',\n 'SX']", 3, "no cause 'SX'"),
        ("[[allow]]\nreason = 'a'\npath = '!a'", 3, "matches nothing"),
        ("[[allow]]\nreason = 'a'\ncode = 'SW1'\nuntil = 'soon'", 4, "until"),
        ("allow = [{ code = 'SW1' }]", 1, "required field `reason`"),
    ],
)
def test_what_is_wrong_is_refused_with_its_line(tmp_path: Path, text: str, line: int, words: str) -> None:
    with pytest.raises(UsageError) as refusal:
        read(tmp_path, text)
    assert str(refusal.value).startswith(f"syncwatch.toml:{line}: ")
    assert words in str(refusal.value)


def test_a_line_of_a_pyproject_is_its_own(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"pyproject.toml:5: no key 'strikt'"):
        read(tmp_path, "[project]\nname = 'a'\n\n[tool.syncwatch]\nstrikt = true\n", "pyproject.toml")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[tool.syncwach]\nstrict = true", r"pyproject.toml:1: no tool .* Did you mean \[tool.syncwatch\]"),
        ("[tool]\nsyncwatch = 3", "pyproject.toml:2: syncwatch is no table"),
        ("[tool", "is no TOML"),
    ],
)
def test_a_pyproject_that_means_something_else_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        read(tmp_path, text, "pyproject.toml")


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "syncwatch.toml").write_bytes(b"\xff")
    with pytest.raises(UsageError, match="is no TOML"):
        read_settings(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (
            "syncwatch.toml",
            "# ours\n\n[tool.syncwatch]\nstrict = true\n",
            r"syncwatch.toml:3: .* Drop .*\[tool.syncwatch\]",
        ),
        (
            "syncwatch.toml",
            "[tool.syncwatch.causes]\nSW1 = 'allow'\n",
            r"syncwatch.toml:1: .*\[tool.syncwatch.causes\] as",
        ),
        ("syncwatch.toml", "[syncwatch]\nstrict = true\n", r"syncwatch.toml:1: .* Drop the line \[syncwatch\]"),
        ("pyproject.toml", "[project]\n[syncwatch]\n", r"pyproject.toml:2: .* Write it as \[tool.syncwatch\]"),
        (".syncwatch.toml", "strict = true\n", r"\.syncwatch.toml is not read: the policy is called syncwatch.toml"),
        ("syncwatch.yaml", "strict: true\n", "is not read: .* in TOML"),
    ],
)
def test_a_policy_in_the_wrong_place_is_told_where_it_belongs(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=said):
        read_settings(tmp_path)


def test_a_policy_that_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "ci.toml")
    for path, kind in ((tmp_path / "ci.toml", "a pipe"), (Path("/dev/zero"), "a device"), (tmp_path, "a folder")):
        with pytest.raises(UsageError, match=f"it is {kind}"):
            read_settings(tmp_path, path)


def test_the_keys_are_written_down_once() -> None:
    # GIVEN every key that the tables of the policy take
    known = {name for names in config._KEYS.values() for name in names}
    assert {each.name for each in fields(Budgets)} == set(config._KEYS["budgets"])

    # THEN neither module repeats one as a list of strings: they come from the fields
    for module in (config, config_file):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, ast.Tuple | ast.List):
                words = {part.value for part in node.elts if isinstance(part, ast.Constant)}
                assert len(words & known) < 2, ast.unparse(node)


@pytest.mark.parametrize("table", ["", "budgets", "allow"])
def test_every_key_is_offered_where_it_is_nearly_written(tmp_path: Path, table: str) -> None:
    for name in config._KEYS[table]:
        head = {"": "", "budgets": "[budgets]\n", "allow": "[[allow]]\nreason = 'why'\n"}[table]
        (tmp_path / "syncwatch.toml").write_text(f"{head}{name}x = 1\n")
        with pytest.raises(UsageError, match=f"Did you mean '{name}'"):
            read_settings(tmp_path)
