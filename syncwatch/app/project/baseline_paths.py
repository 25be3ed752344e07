"""Finds the baseline entry that is meant when it was written from another folder of the project.

Paths and targets in a baseline start from the project's folder. Early versions let them start from the folder in which
the command was typed, so entries whose files are not in the project's are looked for below that folder.
"""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from syncwatch.model.project import path_in
from syncwatch.model.verdict import KnownSite


def from_project(entries: Iterable[KnownSite], root: Path, start: Path) -> tuple[KnownSite, ...]:
    """Return `entries` with paths that start from `root`, as far as their files are found there.

    Args:
        entries: what a baseline holds.
        root: the project's folder.
        start: the folder in which the command was typed.
    """
    places: dict[str, str] = {}
    placed = []
    for entry in entries:
        path = entry.key.path
        if path not in places:
            places[path] = _moved(path, root, start)
        placed.append(replace(entry, key=replace(entry.key, path=places[path])))
    by_target: dict[str, list[str]] = defaultdict(list)
    for entry in placed:
        by_target[entry.target].append(entry.key.path)
    targets = {target: _target(target, paths, root, start) for target, paths in by_target.items()}
    return tuple(replace(entry, target=targets[entry.target]) for entry in placed)


def _target(target: str, paths: Sequence[str], root: Path, start: Path) -> str:
    """Return the script `target` from `root`; one typed as an absolute path was kept by its name alone."""
    if not target.endswith(".py"):
        return target
    moved = _moved(target, root, start)
    if _is_file(root / moved) or "/" in moved:
        return moved
    same_name = {path for path in paths if posixpath.basename(path) == moved and _is_file(root / path)}
    return same_name.pop() if len(same_name) == 1 else moved


def _moved(path: str, root: Path, start: Path) -> str:
    """Return `path`, which starts from `root` or from `start`, from `root`; as it is where neither has the file."""
    if not path.endswith(".py") or (".." not in path.split("/") and _is_file(root / path)):
        return path
    below = start / path
    return (path_in(root, below) or path) if _is_file(below) else path


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        # A baseline is a text file: what stands in it may be no path at all.
        return False
