"""Finds files of the project: the text of one that a report names, and the one that a baseline's entry means.

Paths and targets in a baseline start from the project's folder. Early versions let them start from the folder in which
the command was typed, so entries whose files are not in the project's are looked for below that folder.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import sys
import tokenize
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from syncwatch.attribute.stacks import is_user
from syncwatch.model.events import LIBRARY_FILES
from syncwatch.model.paths import not_plain, path_in
from syncwatch.model.session import Session
from syncwatch.model.verdict import KnownSite
from syncwatch.sense.stacks import display_path


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


_NOT_OURS = frozenset({"site-packages", "node_modules", "__pycache__", "build", "dist"})
_MANY = 50_000


def reader(folders: Iterable[Path]) -> Callable[[str], str | None]:
    """Return a function that gives the text of a file named relative to one of `folders` or of `sys.path`."""
    roots = [*folders, *(Path(entry) for entry in sys.path if entry)]

    def read(file: str) -> str | None:
        if file.startswith("<") or Path(file).is_absolute() or ".." in Path(file).parts:
            return None
        for root in roots:
            text = _text(root / file)
            if text is not None:
                return text
        return None

    return read


def changed_since(file: str, folders: Iterable[Path], moment_ns: int) -> bool:
    """Return whether the file that `reader` finds under this name was written after `moment_ns`."""
    for root in [*folders, *(Path(entry) for entry in sys.path if entry)]:
        with contextlib.suppress(OSError, ValueError):
            return (root / file).stat().st_mtime_ns > moment_ns
    return False


def user_files(session: Session, folder: Path) -> tuple[str, ...]:
    """Return every file of the user's that took part: the target, recorded lines, imports from below `folder`.

    Args:
        session: what was recorded.
        folder: the project's, which paths in reports start from.
    """
    recorded = (frame.file for recording in session.recordings for frame in recording.frames if is_user(frame))
    return tuple(dict.fromkeys([_file_of(session.target), *recorded, *_imported(folder)]))


def project_files(root: Path) -> tuple[str, ...]:
    """Return the Python files below `root`, the first of them where there are very many."""
    found: list[str] = []
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in _NOT_OURS]
        found += (os.path.relpath(os.path.join(folder, name), root) for name in files if name.endswith(".py"))
        if len(found) > _MANY:
            break
    return tuple(name.replace(os.sep, "/") for name in found)


def _file_of(target: str) -> str:
    return target if target.endswith(".py") else target.partition(":")[0].replace(".", "/") + ".py"


def _imported(folder: Path) -> list[str]:
    # Text before paths: torch alone is two thousand modules.
    inside = str(folder) + os.sep
    origins = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    shown = (display_path(each, folder) for each in origins if isinstance(each, str) and each.startswith(inside))
    return [file for file in shown if file.endswith(".py") and not file.startswith(LIBRARY_FILES)]


def _text(path: Path) -> str | None:
    try:
        if not_plain(path) is not None:
            return None
        with tokenize.open(path) as file:
            return file.read()
    except (OSError, SyntaxError, ValueError):
        # Not there, or in no encoding that Python would have run.
        return None
