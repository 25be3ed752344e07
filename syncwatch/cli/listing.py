"""Answers: what does `syncwatch list` do? It names the scenarios, their variants and presets."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from syncwatch.sense.device import require_torch


def list_scenarios() -> None:
    """List the scenarios that `syncwatch run` knows."""
    require_torch()
    from syncwatch.bench import registry
    from syncwatch.bench.scenario import variants_of

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("scenario", "what it runs", "variants", "presets"):
        table.add_column(heading, overflow="fold")
    for name in registry.names():
        scenario = registry.load(name)
        table.add_row(name, scenario.summary, ", ".join(variants_of(scenario)), ", ".join(scenario.presets))
    Console(highlight=False).print(table)
