"""Opens files that may be packed by gzip, and says in a sentence why one of them cannot be read.

What is in a file decides, whatever it is called.
"""

from __future__ import annotations

import gzip
import io
import os
import textwrap
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

import msgspec

from syncwatch.errors import SessionError
from syncwatch.model.paths import not_plain

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_GZIP = b"\x1f\x8b"

BROKEN = (gzip.BadGzipFile, EOFError, zlib.error)
"""What reading raises where the packing is damaged; the first of them is an OSError too."""

_MOST_BYTES = 4 << 30
"""A trace of torch.profiler of 200 MB, packed, is 2 to 4 GB."""
_ALWAYS_BYTES = 256 << 20
"""So much is unpacked however small the file is."""
_MOST_RATIO = 200
"""Traces are packed 10 to 40 to 1, and the best that gzip does is 1,032 to 1."""
_CHUNK_BYTES = 1 << 20

_LONGEST_REASON = 160
"""Characters kept of what a decoder says: what it quotes from the file may be of any length."""

_OTHER_PACKINGS = (
    (b"\xfd7zXZ\x00", "xz", "xz -dk"),
    (b"\x28\xb5\x2f\xfd", "zstd", "zstd -d"),
    (b"BZh", "bzip2", "bzip2 -dk"),
    (b"\x04\x22\x4d\x18", "lz4", "lz4 -d"),
    (b"7z\xbc\xaf\x27\x1c", "7-Zip", "7z x"),
    (b"PK\x03\x04", "zip, as torch.save does too", "unzip"),
)


class _TooLargeError(Exception):
    """The file unpacks to more than is read."""


class _Bounded(io.RawIOBase):
    """What a packed file holds, up to a limit."""

    def __init__(self, packed: gzip.GzipFile, most: int, why: str) -> None:
        self._packed = packed
        self._most = most
        self._why = why

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._packed.seek(offset, whence)

    def readinto(self, buffer: WriteableBuffer) -> int:
        count = self._packed.readinto(buffer)
        if self._packed.tell() > self._most:
            raise _TooLargeError(self._why)
        return count

    def readall(self) -> bytes:
        return b"".join(iter(lambda: self.read(_CHUNK_BYTES) or b"", b""))


@contextmanager
def refusing(path: Path, next_step: str) -> Iterator[None]:
    """Say in a sentence, followed by `next_step`, why `path` cannot be read.

    Raises:
        SessionError: if it is no file, if its packing is broken or holds too much, or if the system refuses.
    """
    try:
        kind = not_plain(path)
        if kind is not None:
            advice = "Write what comes out of it to a file first. " if kind == "a pipe" else ""
            raise SessionError(f"{path} is {kind}, and only files are read. {advice}{next_step}")
        yield
    except _TooLargeError as error:
        raise SessionError(f"{path} {error} Unpack it yourself with `gunzip -k`, and give that file.") from error
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
        if not packed:
            yield file
            return
        inside = opened.enter_context(gzip.GzipFile(fileobj=file, mode="rb"))
        bounded = _Bounded(inside, *_limit(path.stat().st_size))
        yield cast("IO[bytes]", opened.enter_context(io.BufferedReader(bounded, _CHUNK_BYTES)))


def is_packed(head: bytes) -> bool:
    """Return whether a file that begins with `head` is packed by gzip."""
    return head.startswith(_GZIP)


def other_packing(head: bytes) -> tuple[str, str] | None:
    """Return what packed a file that begins with `head`, and the command that unpacks it; None where nothing did."""
    return next(((name, command) for magic, name, command in _OTHER_PACKINGS if head.startswith(magic)), None)


def _limit(packed_bytes: int) -> tuple[int, str]:
    """Return how much may come out of a file of `packed_bytes`, and what is said when more does."""
    free = _free_memory()
    limits = [
        (_MOST_BYTES, f"unpacks to more than {_MOST_BYTES >> 30} GiB, the most that is unpacked here."),
        (
            max(_ALWAYS_BYTES, packed_bytes * _MOST_RATIO),
            f"unpacks to more than {_MOST_RATIO} times its size, which no trace does.",
        ),
    ]
    if free is not None:
        said = f"unpacks to more than {free / 2 / (1 << 30):.1f} GiB, half of the memory that is free here."
        limits.append((max(_CHUNK_BYTES, free // 2), said))
    return min(limits)


def _free_memory() -> int | None:
    """Return the bytes of memory that can be had without swapping; None where the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            return next((int(line.split()[1]) << 10 for line in file if line.startswith("MemAvailable:")), None)
    except OSError:
        return None


@contextmanager
def refusing_damage(path: Path) -> Iterator[None]:
    """Turn what goes wrong while the export at `path` is put together into a sentence.

    Raises:
        SessionError: where rows are missing, have other types than were written, or are of another version.
    """
    try:
        yield
    except (msgspec.DecodeError, ValueError, LookupError, TypeError) as error:
        raise SessionError(
            f"{path} is a damaged export of syncwatch: {_reason(error)}. Export it again with `syncwatch export`."
        ) from error


def _reason(error: Exception) -> str:
    if isinstance(error, LookupError | TypeError):
        return "a row points at something that is not there"
    return textwrap.shorten(str(error), _LONGEST_REASON, placeholder=" ...")
