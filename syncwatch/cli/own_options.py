"""The options of the scenario that a command names: found among its words, and added to the command's own."""

from __future__ import annotations

import contextlib
import copy
import inspect
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Optional, get_args, get_type_hints

import typer

from syncwatch.bench import Defaults, Scenario, registry
from syncwatch.bench.options import Option, scenario_option_refusal, unknown_option
from syncwatch.errors import UsageError

PARAMETER = "options"
"""The parameter of a command that takes what was typed of the scenario's own options, by name."""


def target_of(words: Sequence[str], parameters: Sequence[Any]) -> str | None:
    """Return the word that names what is to be run, `-m pkg.mod` of a module; None where there is none.

    Args:
        words: what was typed after the command.
        parameters: those of the command, as click has them.
    """
    valued = {flag for each in parameters if not getattr(each, "is_flag", False) for flag in each.opts}
    known = valued | {flag for each in parameters for flag in (*each.opts, *each.secondary_opts)}
    skips = maybe_value = False
    for place, word in enumerate(words):
        if skips:
            skips = False
        elif word == "--":
            return None
        elif word.startswith("-") and len(word) > 1:
            if word in ("-m", "--module"):
                return f"-m {' '.join(words[place + 1 : place + 2])}"
            if word.startswith(("-m", "--module=")) and word not in known:
                return f"-m {word.removeprefix('-m').removeprefix('--module=')}"
            skips = word in valued
            maybe_value = word not in known and "=" not in word
        elif not maybe_value or word.endswith(".py") or registry.is_scenario(word):
            return word
        else:
            maybe_value = False
    return None


def with_options(function: Callable[..., None], scenario: Scenario | None) -> Callable[..., None]:
    """Return `function` with the options of `scenario` as parameters, in place of the one called `PARAMETER`."""
    declared = () if scenario is None else scenario.declared
    own = {each.name: each for each in declared}

    def command(**values: Any) -> None:
        given = {name: values.pop(name) for name in own}
        # None and False are what typer gives where nothing was typed.
        values[PARAMETER] = {name: value for name, value in given.items() if value is not None and value is not False}
        function(**values)

    plain = inspect.signature(function)
    hints = get_type_hints(function, include_extras=True)
    kept = [each.replace(annotation=hints[each.name]) for each in plain.parameters.values() if each.name != PARAMETER]
    if scenario is not None:
        counts = {"steps": scenario.steps, "warmup": scenario.warmup}
        kept = [_with_default(each, counts[each.name]) if each.name in counts else each for each in kept]
    parameters = [*kept, *map(_parameter, declared)]
    command.__name__ = function.__name__
    command.__doc__ = _help(inspect.getdoc(function) or "", scenario)
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    command.__signature__ = plain.replace(parameters=parameters, return_annotation=None)  # type: ignore[attr-defined]
    return command


def _with_default(parameter: inspect.Parameter, count: Defaults) -> inspect.Parameter:
    """Return an option of the command with what the scenario takes where it is not given, for the help."""
    kind, option = get_args(parameter.annotation)
    own = copy.copy(option)
    own.show_default = f"{count.cuda}, virtual {count.virtual}"
    return parameter.replace(annotation=Annotated[kind, own])


def _parameter(option: Option) -> inspect.Parameter:
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    if option.type is bool:
        flag = Annotated[bool, typer.Option(option.flag, help=option.help)]
        return inspect.Parameter(option.name, kind, default=False, annotation=flag)

    def choices(incomplete: str) -> list[str]:
        return [each for each in option.choices if each.startswith(incomplete)]

    # A word in any case: what it has to be is the scenario's matter, and said in its own sentence.
    valued = Annotated[
        Optional[str],  # noqa: UP045  # typer evaluates this on Python 3.10
        typer.Option(
            option.flag,
            metavar=option.takes,
            help=option.help,
            show_default=option.shown_default or False,
            autocompletion=choices,
        ),
    ]
    return inspect.Parameter(option.name, kind, default=None, annotation=valued)


def _help(text: str, scenario: Scenario | None) -> str:
    if scenario is None:
        return text
    extra = f"; on request {', '.join(scenario.extra_variants)}" if scenario.extra_variants else ""
    return f"{scenario.name}: {scenario.summary}.\n\nVariants: {', '.join(scenario.variants)}{extra}.\n\n{text}"


def refusal(flag: str, target: str | None, command: str) -> str | None:
    """Return the sentence that refuses the unknown option `flag`; None where nothing is known to run.

    Raises:
        UsageError: if the target itself is none.
    """
    if target is None:
        return None
    if registry.is_scenario(target):
        return unknown_option(target, flag, registry.load_scenario(target).declared)
    if not target.startswith("-m ") and not target.endswith(".py") and ":" not in target:
        if not Path(target).exists():
            registry.load_scenario(target)
        return f"{flag} means nothing for {target}, which is no scenario. Leave it out."
    if any(option.flag == flag for scenario in _loadable() for option in scenario.declared):
        return scenario_option_refusal(flag)
    return (
        f"{flag} is no option of syncwatch {command}. If it is one of {target} itself, write it after --, as in "
        f"`syncwatch {command} {target} -- {flag}`."
    )


def _loadable() -> Iterator[Scenario]:
    for name in registry.scenario_names():
        with contextlib.suppress(UsageError):
            yield registry.load_scenario(name)
