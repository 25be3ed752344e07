"""The torch and Triton that this was tried with, and what undocumented names are gone from those that are installed.

The sensors stand on names that neither documents, and the virtual device on what CUDA does in the torch that is
installed. The versions below are those that `make test-torch` was run with; `docs/virtual-device.md` has the table.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re

from syncwatch.compat import cpython, torch_cuda, triton_interpreter
from syncwatch.compat.private_name import PrivateName

OLDEST_TORCH = "2.9"
"""An older one is refused."""
NEWEST_TORCH = "2.15.0"
NEWEST_TRITON = "3.9.0"


def numbers(version: str) -> tuple[int, int] | None:
    """Return major and minor number of `version`, as (2, 16) of 2.16.0a0+git123; None where it has none."""
    found = re.match(r"\s*v?(\d+)\.(\d+)", version)
    return None if found is None else (int(found[1]), int(found[2]))


def is_too_old(torch: str) -> bool:
    """Return whether this torch is older than any that is supported; so is one whose version cannot be read."""
    found, oldest = numbers(torch), numbers(OLDEST_TORCH)
    return found is None or oldest is None or found < oldest


def newer_than_tried(torch: str | None, triton: str | None) -> tuple[str, ...]:
    """Return a sentence for each of the two that is newer than any that was tried, by major and minor number.

    Args:
        torch: its version, or None where it is not installed.
        triton: likewise.
    """
    known = (("torch", torch, NEWEST_TORCH), ("triton", triton, NEWEST_TRITON))
    return tuple(
        f"{package} {found} is newer than any that syncwatch was tried with ({newest}): what waits in it, and what of "
        "it syncwatch sees, may differ. Compare with `--device cuda` where there is a GPU; in a checkout of syncwatch "
        f"`make test-torch TORCH={_plain(torch)}` says what changed, which is worth a report."
        for package, found, newest in known
        if found is not None and _is_newer(found, newest)
    )


def newer_here() -> tuple[str, ...]:
    """Return what `newer_than_tried` says of what is installed."""
    return newer_than_tried(installed("torch"), installed("triton"))


def missing_name_sentence(what: str) -> str:
    """Return the sentence for a name that syncwatch needs and that the installed versions lack.

    Args:
        what: what it was needed for, as "cannot run Triton kernels without a GPU (...)".
    """
    found = [f"{package} {version}" for package in ("torch", "triton") if (version := installed(package))]
    return (
        f"The virtual device {what} with {' and '.join(found) or 'this torch'}. It was tried with torch {OLDEST_TORCH} "
        f"to {NEWEST_TORCH} and with Triton up to {NEWEST_TRITON}: install one of those, or use `--device cuda` on a "
        "machine with a GPU."
    )


def installed(package: str) -> str | None:
    """Return the installed version of `package`, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _is_newer(found: str, newest: str) -> bool:
    here, tried = numbers(found), numbers(newest)
    # A version without numbers, as a build of one's own may have, was tried by nobody.
    return here is None or tried is None or here > tried


def _plain(torch: str | None) -> str:
    return (torch or NEWEST_TORCH).partition("+")[0]


_ALL = tuple(
    dict.fromkeys((*torch_cuda.NAMES, *torch_cuda.VIRTUAL_NAMES, *torch_cuda.RANGE_NAMES, *triton_interpreter.NAMES))
)


def private_names() -> tuple[PrivateName, ...]:
    """Return the names of the packages that are installed."""
    there = {package: importlib.util.find_spec(package) is not None for package in {name.package for name in _ALL}}
    return tuple(name for name in _ALL if there[name.package])


def gone_names() -> tuple[str, ...]:
    """Return a sentence for each name that the installed packages should have and have not."""
    built = bool(torch_cuda.BUILT_FOR_CUDA.get_or(False))
    missing = [name.gone() for name in private_names() if name.is_due(built_for_cuda=built) and not name.is_there()]
    if not cpython.slots_are_known():
        missing.append(_as_sentence(cpython.NO_SLOTS))
    if not cpython.methods_can_be_set():
        missing.append(_as_sentence(cpython.NO_METHODS))
    return tuple(missing)


def _as_sentence(said: str) -> str:
    return said[0].upper() + said[1:] if not said.startswith("`") else said
