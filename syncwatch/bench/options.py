"""The options of a scenario: the fields of a frozen dataclass, from which the command line, its help and reports come.

```python
@dataclass(frozen=True)
class Options:
    rows: int = option(4096, help="Rows of the table.", minimum=1)
    sorted: bool = option(False, help="Sort them first.")
    seed: int = option(0, help="Seed of the rows.")
```

A field is a word, a number or a flag: `str`, `int`, `float` or `bool`; `int | None` for a number that something else
decides where it is not given. Underscores become dashes: `row_count` is `--row-count`.
"""

from __future__ import annotations

import difflib
import math
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from syncwatch.errors import UsageError

_Value = TypeVar("_Value")
_TYPES = (str, int, float, bool)
_KEY = "syncwatch.option"
_SAME: Any = object()

RESERVED = frozenset(
    {
        *("arguments", "baseline", "config", "device", "for_steps", "format", "help", "max_gain_us", "max_syncs"),
        *(
            "module",
            "no_prices",
            "output",
            "prices",
            "require",
            "rounds",
            "seconds",
            "signal",
            "skip_steps",
            "step_range",
        ),
        *("steps", "strict", "target", "update_baseline", "variant", "warmup", "what_if"),
    }
)
"""Names that `run` and `gate` have options of their own under."""

Given = Mapping[str, "str | bool"]
"""What was typed of the options of a scenario: values by the names of the fields."""


@dataclass(frozen=True, slots=True)
class NoOptions:
    """What a scenario without options has."""


@dataclass(frozen=True, slots=True)
class _Facts:
    """What `option` was told beside the default on a GPU."""

    help: str
    on_virtual: object
    choices: tuple[str, ...]
    minimum: float | None
    maximum: float | None
    unset: str


def option(
    default: _Value,
    *,
    help: str,
    on_virtual: _Value = _SAME,
    choices: tuple[str, ...] = (),
    minimum: float | None = None,
    maximum: float | None = None,
    unset: str = "",
) -> _Value:
    """Return the field of an option, for the body of a dataclass.

    Args:
        default: its value where the user gives none.
        help: what it is, a short sentence for the help.
        on_virtual: the default on the virtual device, where that is another.
        choices: the only values that it takes; empty for any.
        minimum: the least value that it takes.
        maximum: the greatest.
        unset: what the help calls the default, where that is None.
    """
    facts = _Facts(help, on_virtual, choices, minimum, maximum, unset)
    return field(default=default, metadata={_KEY: facts})


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a scenario."""

    name: str
    """That of the field."""
    type: type[str] | type[int] | type[float] | type[bool]
    default: object
    on_virtual: object
    """The default on the virtual device."""
    help: str
    choices: tuple[str, ...]
    minimum: float | None
    maximum: float | None
    unset: str

    @property
    def flag(self) -> str:
        """How it is typed."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def takes(self) -> str:
        """What it takes, in words for a table; empty for a flag."""
        if self.choices:
            return "|".join(self.choices)
        return {str: "TEXT", int: "INTEGER", float: "NUMBER", bool: ""}[self.type]

    @property
    def shown_default(self) -> str:
        """The defaults, in words; empty where nothing is to be said."""
        if self.type is bool:
            return ""
        texts = [self.unset if each is None else str(each) for each in (self.default, self.on_virtual)]
        return texts[0] if texts[0] == texts[1] else f"{texts[0]}, virtual {texts[1]}"

    def read(self, given: str | bool, scenario: str) -> object:
        """Return the value that the user means by `given`.

        Raises:
            UsageError: if `scenario` cannot take it.
        """
        value: object = given
        if self.type in (int, float):
            try:
                value = self.type(given)
            except ValueError:
                kind = "a whole number" if self.type is int else "a number"
                raise UsageError(f"{self.flag} takes {kind}, and {given!r} is none. {self._advice(scenario)}") from None
        self.check(value, scenario)
        return value

    def check(self, value: object, scenario: str) -> None:
        """Refuse a value that `scenario` cannot take.

        Raises:
            UsageError: with what it takes.
        """
        if value is None and self.default is None:
            return
        if self.choices and value not in self.choices:
            near = difflib.get_close_matches(str(value), self.choices, n=3, cutoff=0.4)
            hint = f"Did you mean {' or '.join(near)}?" if near else f"Choose from {', '.join(self.choices)}."
            raise UsageError(f"{scenario} has no {self.name.replace('_', ' ')} {value!r}. {hint}")
        if isinstance(value, int | float) and not isinstance(value, bool):
            require_range(self.flag, value, self.minimum, self.maximum)

    def _advice(self, scenario: str) -> str:
        if self.minimum is not None or self.maximum is not None:
            return f"Give one {_range(self.minimum, self.maximum)}."
        return f"`syncwatch list {scenario}` shows its options."


def options_of(declared: type) -> tuple[Option, ...]:
    """Return the options that the dataclass `declared` has, in their order.

    Raises:
        TypeError: if it is no such declaration, with what is wrong.
    """
    if not is_dataclass(declared):
        raise TypeError(f"{declared!r} declares no options: make it a frozen dataclass.")
    hints = get_type_hints(declared)
    return tuple(_option(declared, each.name, hints[each.name], each) for each in fields(declared))


def _option(declared: type, name: str, hint: Any, declaration: Any) -> Option:
    place = f"{declared.__name__}.{name}"
    facts = declaration.metadata.get(_KEY)
    if facts is None:
        raise TypeError(f"{place} is no option: write it as `{name}: int = option(0, help=...)`.")
    if name in RESERVED:
        raise TypeError(f"{place}: --{name.replace('_', '-')} is an option of syncwatch itself. Choose another name.")
    found = _plain(hint)
    if found not in _TYPES:
        raise TypeError(f"{place} is of {hint}: an option is str, int, float or bool, or one of them or None.")
    if found is bool and declaration.default is not False:
        raise TypeError(f"{place} is a flag, and a flag is off where it is not given: make its default False.")
    default = declaration.default
    on_virtual = default if facts.on_virtual is _SAME else facts.on_virtual
    return Option(
        name, found, default, on_virtual, facts.help, facts.choices, facts.minimum, facts.maximum, facts.unset
    )


def _plain(hint: Any) -> Any:
    """Return `int` for `int | None`."""
    if get_origin(hint) not in (Union, types.UnionType):
        return hint
    left = [each for each in get_args(hint) if each is not type(None)]
    return left[0] if len(left) == 1 else hint


def option_words(options: object) -> Iterator[tuple[str, str]]:
    """Yield the name and the value of each option, in words for a report; what nobody decided is left out."""
    for each in options_of(type(options)):
        value = getattr(options, each.name)
        if value is not None:
            shown = ("no", "yes")[value] if isinstance(value, bool) else str(value)
            yield each.name.replace("_", " "), shown


def read_options(scenario: str, declared: type, given: Mapping[str, str | bool], *, virtual: bool) -> Any:
    """Return the options `declared` of `scenario` with what the user gave, by the names of the fields.

    Raises:
        UsageError: if a name is none of them, or a value is refused.
    """
    known = {each.name: each for each in options_of(declared)}
    for name in given:
        if name not in known:
            raise UsageError(unknown_option(scenario, f"--{name.replace('_', '-')}", tuple(known.values())))
    values = {name: each.on_virtual if virtual else each.default for name, each in known.items()}
    values.update({name: known[name].read(value, scenario) for name, value in given.items()})
    return declared(**values)


def unknown_option(scenario: str, flag: str, options: tuple[Option, ...]) -> str:
    """Return the sentence for an option that `scenario` does not have."""
    near = difflib.get_close_matches(flag.lstrip("-"), [each.flag.lstrip("-") for each in options], n=1)
    hint = f" Did you mean --{near[0]}?" if near else " Leave it out."
    return f"{flag} means nothing in {scenario}.{hint} `syncwatch list {scenario}` shows its options."


def require_range(name: str, value: float, low: float | None, high: float | None) -> None:
    """Refuse a number outside `low` to `high`, of which None is no end.

    Raises:
        UsageError: with the range.
    """
    too_low, too_high = low is not None and value < low, high is not None and value > high
    if too_low or too_high or not math.isfinite(value):
        raise UsageError(f"{name} must be {_range(low, high)} here, but is {value}.")


def _range(low: float | None, high: float | None) -> str:
    if low is None and high is None:
        return "finite"
    if high is None:
        return f"at least {low}"
    return f"at most {high}" if low is None else f"from {low} to {high}"


def scenario_option_refusal(flag: str) -> str:
    """Return the sentence that refuses an option of scenarios for code of the user's."""
    return (
        f"{flag} means nothing for code of your own, which runs once as it is. Leave it out; "
        "`with syncwatch.step():` in the code marks its steps."
    )
