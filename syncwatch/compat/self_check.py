"""Looks each undocumented name up, for `syncwatch doctor`."""

from __future__ import annotations

import importlib.util

from syncwatch.compat import cpython, ranges, torch_cuda, torch_virtual, triton_interpreter
from syncwatch.compat.private_name import PrivateName

_ALL = tuple(dict.fromkeys((*torch_cuda.NAMES, *torch_virtual.NAMES, *ranges.NAMES, *triton_interpreter.NAMES)))


def names() -> tuple[PrivateName, ...]:
    """Return the names of the packages that are installed."""
    there = {package: importlib.util.find_spec(package) is not None for package in {name.package for name in _ALL}}
    return tuple(name for name in _ALL if there[name.package])


def gone() -> tuple[str, ...]:
    """Return a sentence for each name that the installed packages should have and have not."""
    built = bool(torch_cuda.BUILT_FOR_CUDA.get_or(False))
    missing = [name.gone() for name in names() if name.is_due(built_for_cuda=built) and not name.is_there()]
    if not cpython.slots_are_known():
        missing.append(_as_sentence(cpython.NO_SLOTS))
    if not cpython.methods_can_be_set():
        missing.append(_as_sentence(cpython.NO_METHODS))
    return tuple(missing)


def _as_sentence(said: str) -> str:
    return said[0].upper() + said[1:] if not said.startswith("`") else said
