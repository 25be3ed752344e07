"""Answers: how is a file read that may be packed? Unpacked by its first bytes, whatever it is called."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, cast

from syncwatch.errors import SessionError

_GZIP = b"\x1f\x8b"

BROKEN = (gzip.BadGzipFile, EOFError, zlib.error)
"""What reading raises where the packing is damaged; the first of them is an OSError too."""


@contextmanager
def refusing(path: Path, next_step: str) -> Iterator[None]:
    """Say in a sentence, followed by `next_step`, why `path` cannot be read.

    Raises:
        SessionError: if the packing is broken, or the system refuses.
    """
    try:
        yield
    except BROKEN as error:
        raise SessionError(f"{path} is packed and broken: {error}. {next_step}") from error
    except OSError as error:
        raise SessionError(f"Cannot read {path}: {error.strerror}. {next_step}") from error


@contextmanager
def unpacked(path: Path) -> Iterator[IO[bytes]]:
    """Open `path`, to be read as what was packed if it was.

    Raises:
        OSError: if it cannot be read, here or later; or one of `BROKEN`.
    """
    with ExitStack() as opened:
        file: IO[bytes] = opened.enter_context(path.open("rb"))
        packed = is_packed(file.read(len(_GZIP)))
        file.seek(0)
        yield cast("IO[bytes]", opened.enter_context(gzip.GzipFile(fileobj=file, mode="rb"))) if packed else file


def is_packed(head: bytes) -> bool:
    """Return whether a file that begins with `head` is packed by gzip."""
    return head.startswith(_GZIP)
