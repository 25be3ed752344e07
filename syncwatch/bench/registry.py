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


def require(name: str) -> None:
    """Refuse a name that no scenario has, without importing any.

    Raises:
        UsageError: with the nearest names.
    """
    if name not in _points():
        raise UsageError(f"There is no scenario {name!r}. {_nearest(name)} `syncwatch list` shows all.")


def load(name: str) -> Scenario:
    """Return the scenario `name`, which `require` has let pass."""
    scenario: Scenario = _points()[name].load()
    return scenario


def _points() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def _nearest(name: str) -> str:
    near = difflib.get_close_matches(name, names(), n=3, cutoff=0.4)
    return f"Did you mean {' or '.join(near)}?" if near else f"Scenarios: {', '.join(names()) or 'none installed'}."
