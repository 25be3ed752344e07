"""The commands by name, each imported only when it is typed: `syncwatch --help` and `list` start without the others.

`run` and `gate` get the options of the scenario that they are given, as if they were options of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from syncwatch.bench import registry
from syncwatch.cli import own_options
from syncwatch.errors import UsageError


@dataclass(frozen=True, slots=True)
class _Command:
    """One command."""

    function: str
    """In the module of `syncwatch.cli` that is called as the command."""
    summary: str
    """What the list of commands says: the first sentence of the function's docstring."""


COMMANDS = {
    "run": _Command("run", "Watch a scenario, or your own code, and say which lines make the CPU wait."),
    "gate": _Command("gate", "Run a target, or take a saved run, and judge it by policy, budgets and baseline."),
    "report": _Command("report", "Show a saved run or a trace, in any format."),
    "compare": _Command("compare", "Compare two saved runs: lines gone, new and changed, and what the step gained."),
    "export": _Command(
        "export",
        "Write a saved run as a trace: every kernel, copy, host call, range and wait, "
        "each wait with its cause and line.",
    ),
    "explain": _Command("explain", "Say what a cause is, why it waits, and what to write instead."),
    "list": _Command("list_scenarios", "List the scenarios that `syncwatch run` knows, or the options of one."),
    "doctor": _Command("doctor", "Say what is installed, which sensors work here, and why the others do not."),
    "probe": _Command(
        "probe",
        "Measure which operators wait on this GPU with this torch, and say what differs from the shipped table.",
    ),
}
_MODULES = {"list": "listing", **dict.fromkeys(("report", "compare", "export"), "saved_runs")}
_WITH_SCENARIOS = frozenset({"run", "gate"})


class CommandGroup(TyperGroup):
    """The commands of `COMMANDS`."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        # What is typed wrongly is held against these names.
        self.commands = {name: _stub(name) for name in COMMANDS}

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """Return the names, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override]
        """Return the command `cmd_name`, imported; None if there is none."""
        return built(cmd_name) if cmd_name in COMMANDS else None

    def resolve_command(self, ctx: typer.Context, args: list[str]) -> Any:  # type: ignore[override]
        """Return the name, the command and its words; where they name a scenario, the command with its options."""
        found: tuple[str | None, Any, list[str]] = super().resolve_command(ctx, args)
        name, command, words = found
        if name in _WITH_SCENARIOS and command is not None:
            target = own_options.target_of(words, command.params)
            scenario = target if target is not None and registry.is_scenario(target) else None
            if scenario is not None:
                command = built(name, scenario)
            command.target = target
        return name, command, words

    def format_commands(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]
        """Write the list of commands without importing any."""
        limit = formatter.width - 6 - max(map(len, COMMANDS))
        with formatter.section("Commands"):
            formatter.write_dl([(name, _stub(name).get_short_help_str(limit)) for name in COMMANDS])


class _TargetCommand(TyperCommand):
    """`run` or `gate`: an option that it does not know is refused by what the target is."""

    target: str | None = None

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            # Click's NoSuchOption; which click that is differs between releases of typer.
            flag = getattr(error, "option_name", None) if type(error).__name__ == "NoSuchOption" else None
            said = own_options.refusal(flag, self.target, self.name or "") if flag is not None else None
            if said is None:
                raise
            raise UsageError(said) from None


def built(name: str, scenario: str | None = None) -> Any:
    """Return the command `name` as click has it, with the options of `scenario` where one is given.

    Raises:
        UsageError: if the scenario cannot be loaded.
    """
    module = import_module(f"syncwatch.cli.{_MODULES.get(name, name)}")
    function = getattr(module, COMMANDS[name].function)
    if name in _WITH_SCENARIOS:
        function = own_options.with_options(function, None if scenario is None else registry.load_scenario(scenario))
    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    alone.command(name, cls=_TargetCommand if name in _WITH_SCENARIOS else TyperCommand)(function)
    return typer.main.get_command(alone)


def _stub(name: str) -> Any:
    return TyperCommand(name, help=COMMANDS[name].summary)
