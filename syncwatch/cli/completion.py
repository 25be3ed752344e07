"""What a shell offers when a name is half typed. Known without torch, so that it comes at once."""

from __future__ import annotations

import glob
import os

from syncwatch.bench import registry

_RUN = (".py",)
_READ = (".py", ".json", ".gz", ".sqlite", ".nsys-rep")


def scenarios(incomplete: str) -> list[str]:
    """Return the scenarios that begin with `incomplete`, and the Python files and folders."""
    return [*_scenarios(incomplete), *_files(incomplete, _RUN)]


def only_scenarios(incomplete: str) -> list[str]:
    """Return the scenarios that begin with `incomplete`."""
    return _scenarios(incomplete)


def scenarios_and_runs(incomplete: str) -> list[str]:
    """Return the scenarios that begin with `incomplete`, and the Python files, runs, traces and folders."""
    return [*_scenarios(incomplete), *_files(incomplete, _READ)]


def causes(incomplete: str) -> list[tuple[str, str]]:
    """Return the cause codes that begin with `incomplete`, each with its title."""
    from syncwatch.attribute.causes import CAUSES

    return [(code, cause.title) for code, cause in CAUSES.items() if code.startswith(incomplete.upper())]


def forms(incomplete: str) -> list[str]:
    """Return the formats that begin with `incomplete`."""
    from syncwatch.report.formats import Format

    return [form.value for form in Format if form.value.startswith(incomplete)]


def _scenarios(incomplete: str) -> list[str]:
    return [name for name in registry.scenario_names() if name.startswith(incomplete)]


def _files(incomplete: str, endings: tuple[str, ...]) -> list[str]:
    found = sorted(glob.glob(glob.escape(incomplete) + "*"))
    folders = [f"{path}{os.sep}" for path in found if os.path.isdir(path)]
    return [path for path in found if path.endswith(endings)] + folders
