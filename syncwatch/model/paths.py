"""Which folder a report's paths start from, which files may be read, and how one is written whole or not at all."""

from __future__ import annotations

import os
import re
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

OWN_CONFIG = "syncwatch.toml"
SHARED_CONFIG = "pyproject.toml"
_TABLE = re.compile(rb"^\s*\[+\s*tool\s*\.\s*[\"']?syncwatch\b", re.MULTILINE)


def repository_root(start: Path) -> Path | None:
    """Return the folder at or above `start` that holds `.git`; None outside every repository."""
    return next((folder for folder in (start, *start.parents) if (folder / ".git").exists()), None)


def config_folders(start: Path) -> Iterator[Path]:
    """Yield the folders in which a configuration is looked for: `start`, and those above it in its repository."""
    root = repository_root(start)
    yield start
    if root is not None:
        yield from (folder for folder in start.parents if folder == root or root in folder.parents)


def project_root(start: Path) -> Path:
    """Return the folder of the nearest configuration, else of the repository, else `start` itself."""
    configured = next((folder for folder in config_folders(start) if _is_configured(folder)), None)
    return configured or repository_root(start) or start


def current_root() -> Path | None:
    """Return the project's folder of the folder that this process is in; None where that has been removed."""
    try:
        return project_root(Path.cwd())
    except OSError:
        return None


def path_in(root: Path, path: Path) -> str | None:
    """Return `path`, which may not depend on the current folder, relative to `root`; None where it lies outside."""
    for candidate in (os.path.normpath(path), os.path.realpath(path)):
        for folder in (str(root), os.path.realpath(root)):
            if candidate.startswith(folder.rstrip(os.sep) + os.sep):
                return os.path.relpath(candidate, folder).replace(os.sep, "/")
    return None


def _is_configured(folder: Path) -> bool:
    if (folder / OWN_CONFIG).is_file():
        return True
    try:
        return _TABLE.search((folder / SHARED_CONFIG).read_bytes()) is not None
    except OSError:
        return False


def not_plain(path: Path) -> str | None:
    """Return what stands at `path` where that is no plain file, as `a folder`; None for a file, and for nothing.

    Raises:
        OSError: if the system does not let it be looked at.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    kinds = (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
        (stat.S_ISSOCK, "a socket"),
    )
    return next((words for is_kind, words in kinds if is_kind(mode)), None)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give the neighbour of `path` to write to; it takes the place of `path`, or is gone where anything was raised.

    Raises:
        OSError: if the folder cannot be written.
    """
    # Not tempfile, which would leave the file readable by its owner alone.
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        yield beside
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
