"""Where CPython keeps what it does not let be changed: slots of types, the methods of C types, the filters' state.

Tried with CPython 3.10 to 3.13; a slot is used only where it is shown to lie where this file says.
"""

from __future__ import annotations

import ctypes
import gc
import sys
import sysconfig
import warnings
from dataclasses import dataclass
from functools import cache
from typing import Any

_POINTER = ctypes.sizeof(ctypes.c_void_p)
_AS_SEQUENCE, _AS_MAPPING = 13 * _POINTER, 14 * _POINTER
"""Where `PyTypeObject` has its tables, in CPython with the GIL since 3.8 (Include/cpython/object.h)."""
_ITEM, _ASSIGN_ITEM = 3 * _POINTER, 5 * _POINTER
"""`sq_item` and `sq_ass_item` in `PySequenceMethods`."""
_SUBSCRIPT, _ASSIGN_SUBSCRIPT = 1 * _POINTER, 2 * _POINTER
"""`mp_subscript` and `mp_ass_subscript` in `PyMappingMethods`."""
_OLDEST, _NEWEST = (3, 10), (3, 14)
_TYPE_SLOTS = {"sq_item": 44, "sq_ass_item": 39, "mp_subscript": 5, "mp_ass_subscript": 3}
"""Their numbers for `PyType_GetSlot` (Include/typeslots.h), which is part of the stable ABI."""
NO_SLOTS = (
    "`Tensor.__getitem__` cannot be wrapped: the slots of a type do not lie where they did in CPython 3.10 to 3.14, so "
    "`--what-if` replays no indexing."
)
NO_METHODS = "methods of types written in C cannot be replaced, so `torch.Event.synchronize()` is not seen."


@cache
def slots_are_known() -> bool:
    """Return whether the slots of a type lie where this file says, as a look at types of known slots shows."""
    if sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
        return False
    return _OLDEST <= sys.version_info[:2] <= _NEWEST and all(_agrees(owner) for owner in (list, bytearray))


def _agrees(owner: type) -> bool:
    """Return whether the slots of `owner` by offset are those that Python's own function gives."""
    get_slot = ctypes.pythonapi.PyType_GetSlot
    get_slot.restype, get_slot.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_int)
    by_number = {name: get_slot(owner, number) or 0 for name, number in _TYPE_SLOTS.items()}
    sequence, mapping = _at(id(owner) + _AS_SEQUENCE), _at(id(owner) + _AS_MAPPING)
    return bool(sequence and mapping) and by_number == {
        "sq_item": _at(sequence + _ITEM),
        "sq_ass_item": _at(sequence + _ASSIGN_ITEM),
        "mp_subscript": _at(mapping + _SUBSCRIPT),
        "mp_ass_subscript": _at(mapping + _ASSIGN_SUBSCRIPT),
    }


@dataclass(frozen=True, slots=True)
class ItemSlots:
    """The slots behind `x[i]` and `x[i] = y` of one class, as they were.

    Assigning `__getitem__` to a class fills its sequence slot as well as its mapping slot, and deleting it does not
    empty the first again: from then on `torch.tensor([x, y])` takes zero-dimensional tensors for sequences, and fails.
    """

    sequence: tuple[tuple[int, int], ...]
    """Address and content."""
    mapping: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, owner: type) -> ItemSlots:
        """Note the slots of `owner`; only where `slots_are_known`."""
        sequence, mapping = _at(id(owner) + _AS_SEQUENCE), _at(id(owner) + _AS_MAPPING)
        return cls(
            sequence=tuple((sequence + slot, _at(sequence + slot)) for slot in (_ITEM, _ASSIGN_ITEM)),
            mapping=tuple((mapping + slot, _at(mapping + slot)) for slot in (_SUBSCRIPT, _ASSIGN_SUBSCRIPT)),
        )

    def keep_no_sequence(self) -> None:
        """Put the sequence slots back; the mapping slots lead to what was assigned."""
        _put(self.sequence)

    def put_back(self) -> None:
        """Put all of them back."""
        _put(self.sequence + self.mapping)


def _at(address: int) -> int:
    return ctypes.c_size_t.from_address(address).value


def _put(slots: tuple[tuple[int, int], ...]) -> None:
    for address, content in slots:
        ctypes.c_size_t.from_address(address).value = content


def set_method(owner: type, name: str, method: Any) -> bool:
    """Let `owner.name` be `method`, for objects that exist too; return whether this Python lets it be done.

    CPython keeps the methods of a type written in C in a plain dictionary behind the read-only view that `vars` gives,
    and looks them up there.
    """
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


def methods_can_be_set() -> bool:
    """Return whether the methods of a type written in C can be replaced, tried on one by what it has already."""
    return _set_behind_the_view(bytearray, "clear", vars(bytearray)["clear"])


def warnings_changed() -> None:
    """Let every module forget what it has warned of, after the filters of `warnings` were changed."""
    mutated = getattr(warnings, "_filters_mutated", None)
    if mutated is not None:
        mutated()
        return
    # Since 3.14 the lock is taken by the caller.
    mutated, lock = getattr(warnings, "_filters_mutated_lock_held", None), getattr(warnings, "_lock", None)
    if mutated is not None and lock is not None:
        with lock:
            mutated()
