"""The contract of a scenario: what it declares, and what is made of the words that a user types."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from syncwatch.bench import NoOptions, Scenario, option, require_range
from syncwatch.bench.options import RESERVED, option_words, options_of
from syncwatch.cli.commands import built
from syncwatch.errors import UsageError


@dataclass(frozen=True)
class Options:
    preset: str = option("large", on_virtual="tiny", choices=("tiny", "large"), help="Sizes.")
    rows: int = option(64, help="Rows.", minimum=1, maximum=1024)
    row_count: int | None = option(None, help="Rows of a step.", minimum=2, unset="the preset's")
    ratio: float = option(0.5, help="A share.", minimum=0, maximum=1)
    cache_miss: bool = option(False, help="Miss the cache.")
    name: str = option("any", help="A word.")


PLAIN = Scenario(
    name="plain",
    summary="a scenario",
    variants=("naive", "better"),
    options=Options,
    workload="tests.nowhere:build",
)


def test_further_variants_come_after_those_that_run_by_default() -> None:
    assert PLAIN.every_variant == ("naive", "better")
    assert replace(PLAIN, extra_variants=("worse",)).every_variant == ("naive", "better", "worse")


@pytest.mark.parametrize(("virtual", "preset"), [(True, "tiny"), (False, "large")])
def test_what_was_not_given_has_the_default_of_the_device(virtual: bool, preset: str) -> None:
    assert PLAIN.read({}, virtual=virtual) == Options(preset=preset)


def test_words_become_values_of_the_types_that_were_declared() -> None:
    given: dict[str, str | bool] = {"rows": "7", "row_count": "3", "ratio": "0.25", "cache_miss": True, "name": "7"}

    assert PLAIN.read(given, virtual=False) == Options("large", 7, 3, 0.25, True, "7")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"rows": "x"}, "--rows takes a whole number, and 'x' is none. Give one from 1 to 1024."),
        ({"rows": "1.5"}, "--rows takes a whole number, and '1.5' is none."),
        ({"rows": "0"}, "--rows must be from 1 to 1024 here, but is 0."),
        ({"rows": "1025"}, "--rows must be from 1 to 1024 here, but is 1025."),
        ({"row_count": "1"}, "--row-count must be at least 2 here, but is 1."),
        ({"ratio": "nan"}, "--ratio must be from 0 to 1 here, but is nan."),
        ({"preset": "tinny"}, "plain has no preset 'tinny'. Did you mean tiny?"),
        ({"preset": "x"}, "plain has no preset 'x'. Choose from tiny, large."),
        ({"row": "1"}, "--row means nothing in plain. Did you mean --rows? `syncwatch list plain` shows its options."),
        ({"zzz": "1"}, "--zzz means nothing in plain. Leave it out. `syncwatch list plain` shows its options."),
    ],
)
def test_what_it_cannot_take_is_refused_in_a_sentence(given: dict[str, str], sentence: str) -> None:
    with pytest.raises(UsageError) as refused:
        PLAIN.read(given, virtual=True)

    assert str(refused.value).startswith(sentence)


def test_values_that_were_not_typed_are_held_against_the_declaration_too() -> None:
    with pytest.raises(UsageError, match="--rows must be from 1 to 1024 here, but is 0"):
        PLAIN.check(Options(rows=0))
    with pytest.raises(UsageError, match="plain takes Options, and not NoOptions"):
        PLAIN.check(NoOptions())
    PLAIN.check(Options())


def test_the_report_has_what_was_decided() -> None:
    assert dict(option_words(Options(cache_miss=True))) == {
        "preset": "large",
        "rows": "64",
        "ratio": "0.5",
        "cache miss": "yes",
        "name": "any",
    }
    assert dict(option_words(NoOptions())) == {}


def declared(annotation: Any, default: Any) -> type:
    return dataclass(frozen=True)(type("Wrong", (), {"__annotations__": {"field": annotation}, "field": default}))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (object, "declares no options: make it a frozen dataclass"),
        (declared(int, 3), "Wrong.field is no option: write it as"),
        (declared(list[int], option(None, help="")), "an option is str, int, float or bool"),
        (declared(bool, option(True, help="")), "make its default False"),
    ],
)
def test_a_wrong_declaration_says_what_is_wrong(wrong: type, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        options_of(wrong)


def test_names_of_syncwatch_itself_are_taken() -> None:
    @dataclass(frozen=True)
    class Wrong:
        what_if: int = option(0, help="A question.")

    with pytest.raises(TypeError, match="--what-if is an option of syncwatch itself"):
        replace(PLAIN, options=Wrong)


def test_the_reserved_names_are_those_of_the_commands_that_run_scenarios() -> None:
    typed = {
        flag.lstrip("-").replace("-", "_")
        for command in map(built, ("run", "gate"))
        for parameter in command.params
        for flag in (*parameter.opts, *parameter.secondary_opts)
    }

    assert {name for name in typed if len(name) > 1} | {"help"} == RESERVED


@pytest.mark.parametrize("variants", [(), ("naive", "naive")])
def test_variants_are_at_least_one_and_each_of_another_name(variants: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="variants of 'plain'"):
        replace(PLAIN, variants=variants)


def test_the_work_is_a_module_and_a_callable() -> None:
    with pytest.raises(ValueError, match=r"names no callable. Write it as module:callable"):
        replace(PLAIN, workload="lookup.work")


@pytest.mark.parametrize(("value", "fine"), [(0, False), (1, True), (4, True), (5, False)])
def test_a_range_has_both_its_ends(value: int, fine: bool) -> None:
    if fine:
        require_range("--batch", value, 1, 4)
        return
    with pytest.raises(UsageError, match=f"--batch must be from 1 to 4 here, but is {value}."):
        require_range("--batch", value, 1, 4)
