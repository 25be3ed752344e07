"""Writes a file whole or not at all: beside its place, which it takes once it is done."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
