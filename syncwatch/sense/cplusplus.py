"""Builds a C++ library of ours with this machine's compiler, once, and keeps it in the user's cache folder.

The virtual device and the sensor that speaks to CUPTI have one each.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from syncwatch.errors import NotMeasuredError

CACHE = "SYNCWATCH_CACHE"
"""The environment variable that names another folder to keep libraries in."""


def folders() -> tuple[Path, ...]:
    """Return where libraries are kept, the best first: the user's cache, and where that cannot be written, /tmp."""
    kept = os.environ.get(CACHE) or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "syncwatch"
    )
    # Not by `tempfile.gettempdir`, which keeps its answer: the target may name another folder yet.
    temporary = Path(os.environ.get("TMPDIR") or "/tmp") / f"syncwatch-native-{os.getuid()}"
    return Path(kept) / "native", temporary


def is_safe(folder: Path) -> bool:
    """Return whether nobody else can have put a library into `folder`; where it is not there nobody has."""
    if folder == folders()[0]:
        return True
    try:
        seen = os.lstat(folder)
    except OSError:
        return True
    return stat.S_ISDIR(seen.st_mode) and seen.st_uid == os.getuid() and not seen.st_mode & 0o022


_COMPILERS = ("g++", "clang++", "c++")
_TICK_S = 1.0
"""How often a terminal is told that the compiler still runs."""


@dataclass(frozen=True, slots=True)
class Library:
    """What is to be built."""

    name: str
    """What it is called in messages, as `the virtual device's library for torch 2.13.0`."""
    command: Callable[[Sequence[str], Path], list[str]]
    """Takes the compiler and where the library goes; returns what builds it."""
    lasts: str
    """About how long that takes, in words."""
    without: str = ""
    """A sentence on who needs no compiler, with a space before it."""

    def compiler(self) -> list[str]:
        """Return the C++ compiler, with the options that CXX gives it.

        Raises:
            NotMeasuredError: if there is none.
        """
        asked = shlex.split(os.environ.get("CXX", ""))
        found = [asked[0]] if asked else _COMPILERS
        for name in found:
            path = shutil.which(name)
            if path is not None:
                return [path, *asked[1:]]
        named = f"CXX names {asked[0]}, which is not there. " if asked else ""
        raise NotMeasuredError(
            f"A C++ compiler is needed once, to build {self.name}. {named}"
            f"Install g++ (apt install g++), or name a compiler in CXX.{self.without}"
        )

    def build(self, file_name: str, folders: Sequence[Path]) -> Path:
        """Build it into the first of `folders` that can be written, and return its path.

        Raises:
            NotMeasuredError: if there is no compiler, it fails, or no folder can be written.
        """
        chosen, refused = self.compiler(), []
        for folder in folders:
            reason = _refusal(folder)
            if reason is None:
                return self._build_into(chosen, folder / file_name)
            refused.append(f"{folder}: {reason}")
        raise NotMeasuredError(
            f"There is nowhere to keep {self.name} ({'; '.join(refused)}). Name a folder in {CACHE}."
        )

    def _build_into(self, chosen: Sequence[str], path: Path) -> Path:
        with _alone(path.parent):
            if path.exists():
                # Another process has built it meanwhile.
                return path
            with tempfile.TemporaryDirectory(dir=path.parent) as folder:
                made = Path(folder) / path.name
                self._compile(self.command(chosen, made))
                # Whoever looks for it finds all of it or nothing.
                os.replace(made, path)
        return path

    def _compile(self, arguments: Sequence[str]) -> None:
        try:
            status, errors = run(arguments, f"syncwatch: building {self.name}, once, in about {self.lasts} ...")
        except OSError as error:
            raise NotMeasuredError(f"The C++ compiler {arguments[0]} cannot be started ({error}).") from error
        if status:
            raise NotMeasuredError(
                f"{arguments[0]} could not build {self.name} (exit status {status}). If this machine has memory and "
                f"disk left, that is a bug of syncwatch's: please report it with these lines.{self.without}\n"
                f"{_last_lines(errors)}"
            )


def _refusal(folder: Path) -> str | None:
    """Make `folder`; return why nothing can be kept there, or None."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return None if is_safe(folder) else "others can write there"
    except OSError as error:
        return error.strerror or str(error)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one process at a time build in `folder`; the compiler takes a core and a gigabyte."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        # Some network folders know no locks; then two build at once, and either file is as good.
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def run(arguments: Sequence[str], said: str) -> tuple[int, str]:
    """Run the compiler; say so once, and to a terminal every second."""
    begun, live = time.monotonic(), _is_live()
    _say(said, end="" if live else "\n")
    with subprocess.Popen(
        arguments,
        env={**os.environ, "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as process:
        try:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    _, errors = process.communicate(timeout=_TICK_S)
                    break
                if live:
                    _say(f"\r{said} {time.monotonic() - begun:.0f} s", end="")
        except BaseException:
            process.kill()
            raise
        finally:
            if live:
                _say("", end="\n")
    return process.returncode, errors


def _is_live() -> bool:
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):
        return False


def _say(text: str, end: str) -> None:
    # The code that is watched may have closed it.
    with contextlib.suppress(OSError, ValueError, AttributeError):
        print(text, end=end, file=sys.stderr, flush=True)


def _last_lines(errors: str) -> str:
    lines = errors.strip().splitlines()
    return "\n".join([line for line in lines if "error" in line][:4] or lines[-8:])
