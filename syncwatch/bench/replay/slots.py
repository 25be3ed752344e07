"""Answers: how is `Tensor.__getitem__` wrapped without making every tensor a sequence? By keeping CPython's slots.

Assigning `__getitem__` to a class fills its sequence slot as well as its mapping slot, and deleting it does not empty
the first again: from then on `torch.tensor([x, y])` takes zero-dimensional tensors for sequences, and fails. So the
slots are noted before, and put back.
"""

from __future__ import annotations

import ctypes
import sys
import sysconfig
from dataclasses import dataclass

_POINTER = ctypes.sizeof(ctypes.c_void_p)
_AS_SEQUENCE, _AS_MAPPING = 13 * _POINTER, 14 * _POINTER
"""Where `PyTypeObject` has its tables, in CPython with the GIL since 3.8 (Include/cpython/object.h)."""
_ITEM, _ASSIGN_ITEM = 3 * _POINTER, 5 * _POINTER
"""`sq_item` and `sq_ass_item` in `PySequenceMethods`."""
_SUBSCRIPT, _ASSIGN_SUBSCRIPT = 1 * _POINTER, 2 * _POINTER
"""`mp_subscript` and `mp_ass_subscript` in `PyMappingMethods`."""

KNOWN = sys.implementation.name == "cpython" and not sysconfig.get_config_var("Py_GIL_DISABLED")
"""Whether the slots lie where this file says."""


@dataclass(frozen=True, slots=True)
class ItemSlots:
    """The slots behind `x[i]` and `x[i] = y` of one class, as they were."""

    sequence: tuple[tuple[int, int], ...]
    """Address and content."""
    mapping: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, owner: type) -> ItemSlots:
        """Note the slots of `owner`."""
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
