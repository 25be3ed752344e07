"""Finds the native library for the torch that is installed, or has it built, and loads it.

The library is C++ against torch's own headers, so each version and build of torch has its own, under a name that
changes with torch and with the sources. For some it comes with the package (`built/`); for others it is built once
(`build.py`) and kept in the user's cache folder.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress
from functools import cache
from pathlib import Path

import torch

from syncwatch.errors import NotMeasuredError
from syncwatch.sense.virtual.native import build
from syncwatch.sense.virtual.native.places import CACHE, file_name, folders, present, shipped


@cache
def load() -> ctypes.CDLL:
    """Return the library, built if it was not there.

    Raises:
        NotMeasuredError: if it cannot be built here.
    """
    outcome = _outcome()
    if isinstance(outcome, str):
        raise NotMeasuredError(outcome)
    return outcome


@cache
def _outcome() -> ctypes.CDLL | str:
    """Return the library, or why there is none: a build that failed is not tried again in this process."""
    for path in present():
        library = _opened(path)
        if not isinstance(library, str):
            return library
        # Made on another machine, or for another build that calls itself by the same version.
        _forget(path)
    try:
        path = build.build(file_name(), folders())
    except NotMeasuredError as error:
        return str(error)
    return _opened(path)


def _opened(path: Path) -> ctypes.CDLL | str:
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        return (
            f"The virtual device's library {path} cannot be loaded ({error}). Remove it, or name another folder in "
            f"{CACHE}, and it is built anew."
        )


def state() -> str:
    """Return a sentence on where the library is, or what will be done for it; nothing is built or loaded."""
    found = next(iter(present()), None)
    said = f"The virtual device's library for torch {torch.__version__}"
    if found is not None:
        return f"{said} {'came with syncwatch' if found == shipped() else 'was built here'}: {found}"
    try:
        compiler = " ".join(build.compiler())
    except NotMeasuredError as error:
        return str(error)
    return f"{said} will be built at its first use, by {compiler}, in about half a minute: {folders()[0] / file_name()}"


def missing() -> str | None:
    """Return why the library cannot be had here, or None where it is there or can be built."""
    if present():
        return None
    try:
        build.compiler()
    except NotMeasuredError:
        return "no C++ compiler to build its library with"
    return None


def _forget(path: Path) -> None:
    if path != shipped():
        with suppress(OSError):
            path.unlink()
