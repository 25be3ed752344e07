"""Which scenarios there are: what the installed packages offer under `syncwatch.scenarios`. Needs no torch."""

from __future__ import annotations

import difflib
from importlib.metadata import EntryPoint, entry_points

from syncwatch.bench.scenario import Scenario
from syncwatch.errors import UsageError

GROUP = "syncwatch.scenarios"


def scenario_names() -> tuple[str, ...]:
    """Return the names of every installed scenario, sorted."""
    return tuple(sorted(_points()))


def is_scenario(name: str) -> bool:
    """Return whether an installed scenario is called `name`, whatever lies in the folder under that name."""
    return bool(entry_points(group=GROUP, name=name))


def load_scenario(name: str) -> Scenario:
    """Return the scenario `name`; its work is not imported.

    Raises:
        UsageError: if there is none of that name, with the nearest; or what its package offers is none.
    """
    point = _points().get(name)
    if point is None:
        raise UsageError(f"There is no scenario {name!r}. {_nearest(name)} `syncwatch list` shows all.")
    try:
        found = point.load()
    except Exception as error:  # the module is the user's, and may raise anything
        said = f"{type(error).__name__}: {error}".rstrip(": ")
        raise UsageError(
            f"The scenario {name!r} cannot be loaded from {point.value} ({said}). Mend it there."
        ) from error
    if not isinstance(found, Scenario):
        raise UsageError(
            f"{point.value} is of type {type(found).__name__}, and no scenario. Make it a syncwatch.bench.Scenario."
        )
    if found.name != name:
        raise UsageError(
            f"The entry point {name!r} leads to {point.value}, a scenario called {found.name!r}. Give both one name."
        )
    return found


def _points() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def _nearest(name: str) -> str:
    near = difflib.get_close_matches(name, scenario_names(), n=3, cutoff=0.4)
    return (
        f"Did you mean {' or '.join(near)}?"
        if near
        else f"Scenarios: {', '.join(scenario_names()) or 'none installed'}."
    )
