"""Keeps reports and sentences going out when the watched code has replaced or closed stdout and stderr.

Both are duplicated before it runs. Whatever it then does to `sys.stdout` or to descriptor 1, a report goes to the
duplicate, with the encoding, the width and the colours that stdout had at the start.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import os
import resource
import select
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, TextIO, cast

from rich.console import Console

from syncwatch.errors import UsageError

if TYPE_CHECKING:
    from syncwatch.report.formats import Screen

_HIGH = 512
"""Duplicates lie here or above, out of the way of programs that close every descriptor from 3 up to 256."""
_STDOUT, _STDERR = 1, 2


class SavedStream(io.TextIOBase):
    """A standard stream as it was at the start; what its encoding cannot hold is replaced, never raised."""

    def __init__(self, number: int, stream: TextIO | None) -> None:
        self.number = number
        self._stream = stream
        self._encoding = getattr(stream, "encoding", None) or "utf-8"
        self._silent = stream is None
        self._tty = _is_terminal(stream)
        self._descriptor = _duplicate(stream)
        self._identity = None if self._descriptor is None else _identity(self._descriptor)
        first = Console(file=cast("IO[str]", self))
        self._width, self._color = first.width, shows_colour(first)
        self._color_system: Any = first.color_system

    @property
    def screen(self) -> Screen:
        """What the stream shows; what makes reports is imported only for a report."""
        from syncwatch.report.formats import Screen

        return Screen(self._width, self._color, self._encoding.lower().startswith("utf"))

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a plain attribute in the base class
        """The encoding that the stream had."""
        return self._encoding

    def isatty(self) -> bool:
        """Return whether the stream was a terminal."""
        return self._tty

    def writable(self) -> bool:
        """Return True."""
        return True

    def console(self, **options: Any) -> Console:
        """Return a console that writes here as one made at the start would have."""
        return Console(
            file=cast("IO[str]", self),
            width=self._width,
            force_terminal=self._tty,
            color_system=self._color_system,
            no_color=not self._color,
            **options,
        )

    def write(self, text: str) -> int:
        """Write `text` at once.

        A reader that has seen enough, such as `head`, is no error.

        Raises:
            UsageError: if it cannot be written for another reason, such as a full disk.
        """
        if self._silent:
            return len(text)
        content = text.encode(self._encoding, errors="replace")
        try:
            if self._descriptor is None:
                assert self._stream is not None
                self._stream.write(content.decode(self._encoding))
                self._stream.flush()
            else:
                _write_all(self._usable(), content)
        except BrokenPipeError:
            self._silent = True
        except (OSError, ValueError) as error:
            self._silent = True
            if self.number == _STDERR:
                # There is nowhere left to say so, and the exit code still holds.
                return len(text)
            why = getattr(error, "strerror", None) or error
            raise UsageError(f"Cannot write to stdout: {why}. Give the report a file with --format.") from error
        return len(text)

    def _usable(self) -> int:
        """Return a descriptor of the stream: the watched code may have closed the duplicate, and used its number."""
        for descriptor in (self._descriptor, self.number):
            if descriptor is not None and _identity(descriptor) == self._identity:
                return descriptor
        raise OSError(errno.EBADF, "the watched code closed every descriptor")

    def put_back(self, *, into: int | None = None) -> None:
        """Open the stream's own descriptor again where the watched code closed it, as `into` or as it was."""
        if self._descriptor is None or _identity(self.number) is not None:
            return
        with contextlib.suppress(OSError):
            os.dup2(self._usable() if into is None else into, self.number)

    def close(self) -> None:
        """Close the duplicate, and leave the stream itself as it is."""
        if self._descriptor is not None and _identity(self._descriptor) == self._identity:
            os.close(self._descriptor)
        self._descriptor, self._silent = None, True
        super().close()


@dataclass(slots=True)
class _Streams:
    out: SavedStream
    err: SavedStream
    for_good: bool
    """Whether nothing comes after in this process, so that nothing has to be put back."""
    diverted: bool = False
    """Whether descriptor 1 leads to stderr, so that stdout is for the document alone."""

    def close(self) -> None:
        for stream in (self.out, self.err):
            stream.close()


_kept: _Streams | None = None


def out() -> SavedStream:
    """Return stdout as it was when the command began."""
    return SavedStream(_STDOUT, sys.stdout) if _kept is None else _kept.out


def err() -> SavedStream:
    """Return stderr as it was when the command began."""
    return SavedStream(_STDERR, sys.stderr) if _kept is None else _kept.err


@contextlib.contextmanager
def kept(*, for_good: bool = False) -> Iterator[None]:
    """Keep stdout and stderr as they are now while the block runs; a block inside another changes nothing.

    Args:
        for_good: whether the process ends after the block.
    """
    global _kept
    if _kept is not None:
        yield
        return
    _kept = _Streams(SavedStream(_STDOUT, sys.stdout), SavedStream(_STDERR, sys.stderr), for_good)
    try:
        yield
    finally:
        settle()
        streams, _kept = _kept, None
        if streams is not None:
            streams.close()


@contextlib.contextmanager
def only_documents(wanted: bool) -> Iterator[None]:
    """Send what the watched code prints to stderr, so that stdout holds the report and nothing else.

    In a process of the command line's own this is not undone: threads, children and exit handlers of the watched code
    print on while the report is written, and after it.
    """
    if not wanted:
        yield
        return
    _flush_all()
    before = None if _kept is not None and _kept.for_good else os.dup(_STDOUT)
    os.dup2(_STDERR, _STDOUT)
    if _kept is not None:
        _kept.diverted = True
    try:
        yield
    finally:
        _flush_all()
        if before is not None:
            os.dup2(before, _STDOUT)
            os.close(before)


def shows_colour(console: Console) -> bool:
    """Return whether `console` shows colours and nobody set NO_COLOR, which rich leaves to whoever prints."""
    return console.color_system is not None and not console.no_color


def settle() -> None:
    """Let what the watched code printed come out, and see that Python's last flush cannot fail.

    Python flushes `sys.stdout` and `sys.stderr` as it ends, and where one is closed, detached or no file at all it ends
    with 120 in place of the verdict.
    """
    if _kept is not None:
        _kept.err.put_back()
        _kept.out.put_back(into=_STDERR if _kept.diverted else None)
    for name, number in (("stdout", _STDOUT), ("stderr", _STDERR)):
        if not _flushed(getattr(sys, name, None)):
            _drop(getattr(sys, name), number)
            setattr(sys, name, None)


def _flush_all() -> None:
    for stream in (sys.stdout, sys.stderr):
        _flushed(stream)


def _flushed(stream: Any) -> bool:
    try:
        if stream is not None:
            stream.flush()
    except Exception:
        # Of any kind: the object may be the watched code's own.
        return False
    return True


def _drop(stream: Any, number: int) -> None:
    """Send to nowhere what `stream` still holds for descriptor `number`, of which nobody reads any more."""
    try:
        if stream.fileno() != number:
            return
    except Exception:
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)
    _flushed(stream)


def _duplicate(stream: TextIO | None) -> int | None:
    """Return a duplicate that programs started later do not get; None where the stream is no file of the system."""
    try:
        descriptor = stream.fileno() if stream is not None else None
    except (OSError, ValueError):
        return None
    if descriptor is None:
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = _HIGH if soft == resource.RLIM_INFINITY or soft > 2 * _HIGH - 1 else 3
    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, lowest)
    except OSError:
        return None


def _identity(descriptor: int) -> tuple[int, int] | None:
    """Return which file `descriptor` leads to; None where it is closed."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _write_all(descriptor: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        with contextlib.suppress(BlockingIOError):
            rest = rest[os.write(descriptor, rest) :]
            continue
        # The watched code may have made the terminal or pipe non-blocking, as asyncio does.
        select.select([], [descriptor], [])


def _is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except (AttributeError, ValueError):
        return False


def _in_child() -> None:
    """Let the child of a fork go without: a daemon of the watched code must not hold the reader of a pipe."""
    global _kept
    if _kept is not None:
        streams, _kept = _kept, None
        streams.close()


os.register_at_fork(after_in_child=_in_child)
