"""Replaces names for a while, and undoes every replacement in reverse order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from syncwatch.compat.private_name import PrivateName

_ABSENT = object()


@dataclass(slots=True)
class Patches:
    """Names that were replaced, to be put back."""

    _undo: list[Callable[[], None]] = field(default_factory=list)

    def set(self, owner: Any, name: str, value: Any) -> None:
        """Replace `owner.name`."""
        # A function's own code is no entry of its dictionary.
        before = owner.__code__ if name == "__code__" else vars(owner).get(name, _ABSENT)
        setattr(owner, name, value)
        self._undo.append(lambda: delattr(owner, name) if before is _ABSENT else setattr(owner, name, before))

    def undo_with(self, end: Callable[[], None]) -> None:
        """Call `end` when everything is put back."""
        self._undo.append(end)

    def set_if_there(self, owner: Any, name: str, value: Any) -> None:
        """Replace `owner.name` where this torch has it."""
        if hasattr(owner, name):
            self.set(owner, name, value)

    def set_private(self, name: PrivateName, value: Any) -> None:
        """Replace what `name` names.

        Raises:
            NotMeasuredError: if the installed package does not have it.
        """
        name.get()
        self.set(name.owner(), name.attribute, value)

    def set_or_add(self, name: PrivateName, value: Any) -> None:
        """Let `name` name `value`, also where this build of the package lacks it."""
        self.set(name.owner(), name.attribute, value)

    def set_private_if_there(self, name: PrivateName, value: Any) -> None:
        """Replace what `name` names where the installed package has it."""
        if name.is_there():
            self.set(name.owner(), name.attribute, value)

    def restore(self) -> None:
        """Put everything back."""
        while self._undo:
            self._undo.pop()()
