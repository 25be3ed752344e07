"""Tells whether a path may be read as a file. A pipe never ends, a device has no end, and a folder holds no bytes."""

from __future__ import annotations

import stat
from pathlib import Path


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
