"""Checks that a file may be written, before the work is done, so that no run and no file of the user's is lost."""

from __future__ import annotations

import gzip
import os
import re
import zlib
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

from syncwatch.errors import UsageError
from syncwatch.traces.opening import REPORT_SUFFIXES

_SUMMARY = "GITHUB_STEP_SUMMARY"
"""The variable that names the file of a job's summary, to which others may have written before."""
_LOOKED_AT = 1 << 16
_SOURCES = (
    *(".py", ".pyi", ".pyx", ".ipynb", ".sh", ".bash", ".c", ".cc", ".cpp", ".cxx", ".cu", ".cuh", ".h", ".hpp", ".rs"),
    *(".go", ".js", ".ts", ".css", ".tex", ".rst", ".toml", ".cfg", ".ini", ".yaml", ".yml", ".lock"),
    *(".pt", ".pth", ".safetensors", ".bin", ".npy", ".npz", ".csv", ".parquet"),
)
"""What is never a report, whatever stands in it."""
_MARKS = re.compile(rb"syncwatch|\bSW[1-9]\d\d\b|^Coverage: |SYNCWATCH_SESSION", re.MULTILINE)
"""Each format has one of these near its beginning or its end."""


def require_writable(path: Path | None) -> None:
    """Refuse an output that could not be written.

    Raises:
        UsageError: with what stands in the way.
    """
    if path is None:
        return
    folder = path.parent
    if str(path) == "-":
        raise UsageError(
            "Cannot write to -: that is no file. Give one, or name a --format alone, which goes to stdout."
        )
    if path.is_dir():
        raise UsageError(f"Cannot write {path}: it is a folder. Give a file, such as {path / 'run.json'}.")
    if not folder.is_dir():
        raise UsageError(f"Cannot write {path}: the folder {folder} does not exist. Make it first, or give another.")
    if not os.access(folder, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise UsageError(f"Cannot write {path}: permission denied. Give a file in a folder that you may write to.")


def require_apart(outputs: Sequence[Path], used: Mapping[str, Path | None]) -> None:
    """Refuse outputs that would be written over what the command reads, over each other, or over no report of ours.

    Args:
        outputs: the files that will be written.
        used: the files that the command reads, by what each is.

    Raises:
        UsageError: with what would be lost.
    """
    for output in outputs:
        require_writable(output)
        for what, path in used.items():
            if path is not None and _same(output, path):
                raise UsageError(f"Cannot write {output}: it is {what}. Give the report a file of its own.")
        _require_ours(output)
    for one, other in combinations(outputs, 2):
        if _same(one, other) and not _is_special(one):
            raise UsageError(f"{one} and {other} are one file. Give each output its own.")


def _require_ours(output: Path) -> None:
    if output.suffix == ".py":
        raise UsageError(f"Cannot write {output}: it would be a Python file by its name. Give another name.")
    if not output.is_file() or _is_special(output) or not output.stat().st_size:
        return
    if output.suffix.lower() in (*_SOURCES, *REPORT_SUFFIXES) or not _is_ours(output):
        raise UsageError(
            f"Cannot write {output}: a file is there that syncwatch did not write. Give another, or remove it first."
        )


def _is_ours(path: Path) -> bool:
    """Return whether what stands in `path` is a report, a run or a trace that syncwatch wrote before."""
    if path.suffix.lower() == ".md":
        return _beginning(path).lstrip().startswith(b"### syncwatch")
    if _MARKS.search(_beginning(path)):
        return True
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _LOOKED_AT))
        return _MARKS.search(file.read()) is not None


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        head = file.read(_LOOKED_AT)
    if not head.startswith(b"\x1f\x8b"):
        return head
    try:
        with gzip.open(path) as file:
            return file.read(_LOOKED_AT)
    except (OSError, EOFError, zlib.error):
        return head


def _is_special(path: Path) -> bool:
    """Return whether `path` is meant to be written to whatever is in it: a pipe, a device, or a job's summary."""
    summary = os.environ.get(_SUMMARY)
    return (path.exists() and not path.is_file()) or (summary is not None and _same(path, Path(summary)))


def _same(one: Path, other: Path) -> bool:
    """Return whether two paths are one file, also by a link, and also where it is not there yet."""
    try:
        if os.path.samefile(one, other):
            return True
    except (OSError, ValueError):
        pass
    return os.path.realpath(one) == os.path.realpath(other)
