"""Replaces methods of types written in C, which refuse to be assigned to.

CPython keeps the methods of such a type in a plain dictionary behind the read-only view that `vars` gives, and looks
them up there; tried with CPython 3.10 to 3.13.
"""

from __future__ import annotations

import ctypes
import gc
from typing import Any


def set_method(owner: type, name: str, method: Any) -> bool:
    """Let `owner.name` be `method`, for objects that exist too; return whether this Python lets it be done."""
    try:
        setattr(owner, name, method)
    except TypeError:
        return _set_behind_the_view(owner, name, method)
    return True


def _set_behind_the_view(owner: type, name: str, method: Any) -> bool:
    found = [each for each in gc.get_referents(vars(owner)) if isinstance(each, dict)]
    if len(found) != 1 or found[0].get(name) is not vars(owner).get(name):
        return False
    found[0][name] = method
    # Python remembers where it found a method until the type says that it has changed.
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(owner))
    return getattr(owner, name, None) is method
