"""Shows where a function stands without naming the machine, its folders or its users."""

from __future__ import annotations

import os
import re
import sys
import sysconfig
from functools import lru_cache
from pathlib import Path

from syncwatch.model.events import LIBRARY_FILES, Frame
from syncwatch.model.paths import project_root

_FUNCTION = re.compile(r"(?P<file>.+?)\((?P<line>\d{1,9})\): (?P<function>.+)", re.DOTALL)
"""As torch's tracer writes it; the line is that of the `def`."""
_PACKAGES = re.compile(r".*/(?:site|dist)-packages/")
_STDLIB = re.compile(r".*/lib/python\d[^/]*/")
_DRIVE = re.compile(r"[A-Za-z]:/")
_ELSEWHERE = re.compile(r"/|~|\.\./")
_KEPT = 3
"""Components of a path from elsewhere, at most; its first two are never kept: they name a home or a mount."""


@lru_cache(maxsize=1 << 16)
def frame_of(recorded: str) -> Frame | None:
    """Return the frame that a row of the category `python_function` names; None for a function that is not Python."""
    match = _FUNCTION.fullmatch(recorded)
    if match is None:
        return None
    return Frame(shown(match["file"]), int(match["line"]), match["function"], code="", expression=None)


def shown(recorded: str) -> str:
    """Return a file's name relative to site-packages, to the standard library or to the project's folder.

    torch has cut off what stood on `sys.path` already, so that a module of the standard library has a bare name.
    """
    if recorded.startswith("<"):
        return recorded
    path = recorded.replace("\\", "/")
    for pattern, prefix in ((_PACKAGES, ""), (_STDLIB, "<stdlib>/")):
        match = pattern.match(path)
        if match:
            return prefix + path[match.end() :]
    path = _DRIVE.sub("/", path, count=1) if _DRIVE.match(path) else path.removeprefix("./")
    if _ELSEWHERE.match(path):
        return _relative(path)
    return f"<stdlib>/{path}" if _is_stdlib(path) else path


def _relative(path: str) -> str:
    here = project_root(Path.cwd()).as_posix().rstrip("/") + "/"
    if path.startswith(here):
        return path[len(here) :]
    parts = [part for part in path.split("/") if part not in ("", ".", "..", "~")]
    # The first two, but never the file itself.
    return "/".join(parts[min(2, len(parts) - 1) :][-_KEPT:]) if parts else "<unknown>"


@lru_cache(maxsize=1 << 12)
def _is_stdlib(path: str) -> bool:
    """Return whether the bare name is one of Python's own modules, and no file of the current folder."""
    module = path.partition("/")[0].removesuffix(".py")
    if path.startswith(LIBRARY_FILES) or module not in sys.stdlib_module_names or "\x00" in path:
        return False
    folder = sysconfig.get_path("stdlib")
    return not os.path.isfile(path) and os.path.isfile(os.path.join(folder, path))
