"""Which word of a command is its target, and the message for an option that the target does not have."""

from __future__ import annotations

import inspect

import pytest

from syncwatch.cli import commands
from syncwatch.cli.own_options import refusal, target_of
from syncwatch.errors import UsageError

RUN = commands.built("run").params


@pytest.mark.parametrize(
    ("words", "target"),
    [
        ("gdn-prefill --tokens 8", "gdn-prefill"),
        ("--tokens 8 gdn-prefill", "gdn-prefill"),
        ("--cache-miss gdn-prefill --steps 3", "gdn-prefill"),
        ("--tokens=8 gdn-prefill", "gdn-prefill"),
        ("--steps 3 train.py", "train.py"),
        ("--tokens 8 train.py", "train.py"),
        ("--what-if nowhere", "nowhere"),
        ("-o gdn-prefill train.py", "train.py"),
        ("-ogdn-prefill train.py", "train.py"),
        ("train.py gdn-prefill", "train.py"),
        ("-m pkg.mod gdn-prefill", "-m pkg.mod"),
        ("--module pkg.mod", "-m pkg.mod"),
        ("--module=pkg.mod", "-m pkg.mod"),
        ("-mpkg.mod", "-m pkg.mod"),
        ("-m", "-m "),
        ("-- gdn-prefill", None),
        ("--tokens 8", None),
        ("--help", None),
        ("", None),
    ],
)
def test_the_target_is_found_among_options_that_are_not_known_yet(words: str, target: str | None) -> None:
    assert target_of(words.split(), RUN) == target


@pytest.mark.parametrize(
    ("flag", "target", "said"),
    [
        ("--cache-miss", "seq-lens", "--cache-miss means nothing in seq-lens. Leave it out."),
        ("--token", "seq-lens", "--token means nothing in seq-lens. Did you mean --tokens?"),
        ("--preset", "train.py", "--preset means nothing for code of your own"),
        ("--preset", "-m pkg.mod", "--preset means nothing for code of your own"),
        ("--epochs", "train.py", "write it after --, as in `syncwatch run train.py -- --epochs`"),
        ("--epochs", "-m pkg.mod", "`syncwatch run -m pkg.mod -- --epochs`"),
        ("--epochs", "pkg.mod:main", "`syncwatch run pkg.mod:main -- --epochs`"),
        ("--tokens", "README.md", "--tokens means nothing for README.md, which is no scenario. Leave it out."),
    ],
)
def test_an_option_that_the_target_does_not_have(flag: str, target: str, said: str) -> None:
    assert said in (refusal(flag, target, "run") or "")


def test_the_option_of_a_scenario_that_is_not_there() -> None:
    with pytest.raises(UsageError, match=r"There is no scenario 'gdn-prefil'. Did you mean gdn-prefill\?"):
        refusal("--tokens", "gdn-prefil", "run")
    assert refusal("--tokens", None, "run") is None


def test_the_list_of_commands_says_what_the_commands_say() -> None:
    for name, command in commands.COMMANDS.items():
        assert commands.built(name).help.partition("\n\n")[0].replace("\n", " ") == command.summary, name


def test_a_scenarios_options_are_in_the_help_and_not_among_those_of_code() -> None:
    flags = {flag for each in commands.built("gate", "gdn-prefill").params for flag in each.opts}
    plain = {flag for each in commands.built("gate").params for flag in each.opts}

    assert flags - plain == {
        "--preset", "--tokens", "--batch", "--layers", "--cache-miss", "--regime", "--lengths", "--seed"
    }  # fmt: skip
    assert "options" not in inspect.signature(commands.built("run").callback).parameters
