"""What `syncwatch list` does: it names the scenarios, or shows the options of one. It needs no torch."""

from __future__ import annotations

from typing import Annotated, Optional

import typer
from rich.console import Console
from rich.table import Table

from syncwatch.bench import registry
from syncwatch.bench.scenario import Scenario
from syncwatch.cli import completion
from syncwatch.errors import UsageError


def list_scenarios(
    name: Annotated[
        Optional[str],  # noqa: UP045  # typer evaluates this on Python 3.10
        typer.Argument(help="A scenario.", show_default=False, autocompletion=completion.only_scenarios),
    ] = None,
) -> None:
    """List the scenarios that `syncwatch run` knows, or the options of one.

    Examples: syncwatch list; syncwatch list gdn-prefill.
    """
    console = Console(highlight=False)
    if name is not None:
        _show(registry.load_scenario(name), console)
        return
    table = _table("scenario", "what it runs", "variants", "presets")
    for each in registry.scenario_names():
        table.add_row(each, *_row(each))
    console.print(table)
    console.print("\n`syncwatch list NAME` shows the options of one.", markup=False)


def _row(name: str) -> tuple[str, str, str]:
    try:
        scenario = registry.load_scenario(name)
    except UsageError as error:
        return str(error), "", ""
    presets = [choice for each in scenario.declared if each.name == "preset" for choice in each.choices]
    return scenario.summary, ", ".join(scenario.every_variant), ", ".join(presets)


def _show(scenario: Scenario, console: Console) -> None:
    console.print(f"{scenario.name}: {scenario.summary}", markup=False)
    console.print(f"variants: {', '.join(scenario.variants)}", markup=False)
    if scenario.extra_variants:
        console.print(f"on request: {', '.join(scenario.extra_variants)}", markup=False)
    console.print(
        f"steps: {scenario.steps.cuda}, virtual {scenario.steps.virtual}; "
        f"before them {scenario.warmup.cuda}, virtual {scenario.warmup.virtual}\n",
        markup=False,
    )
    if not scenario.declared:
        console.print("It has no options of its own.")
        return
    table = _table("option", "takes", "default", "what it is")
    for each in scenario.declared:
        table.add_row(each.flag, each.takes.replace("|", ", "), each.shown_default, each.help)
    console.print(table)


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table
