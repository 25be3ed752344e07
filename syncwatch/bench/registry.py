"""Answers: which scenarios are there? What the installed packages offer under `syncwatch.scenarios`."""

from __future__ import annotations

import difflib
from importlib.metadata import EntryPoint, entry_points

from syncwatch.bench.scenario import Scenario
from syncwatch.errors import UsageError

GROUP = "syncwatch.scenarios"


def names() -> tuple[str, ...]:
    """Return the names of every installed scenario, sorted."""
    return tuple(sorted(_points()))


def load(name: str) -> Scenario:
    """Return the scenario `name`.

    Raises:
        UsageError: if there is none of this name, with the nearest ones.
    """
    point = _points().get(name)
    if point is None:
        raise UsageError(f"There is no scenario {name!r}. {_nearest(name)} `syncwatch list` shows all.")
    scenario: Scenario = point.load()
    return scenario


def _points() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def _nearest(name: str) -> str:
    near = difflib.get_close_matches(name, names(), n=3, cutoff=0.4)
    return f"Did you mean {' or '.join(near)}?" if near else f"Scenarios: {', '.join(names()) or 'none installed'}."
