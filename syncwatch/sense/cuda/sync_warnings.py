"""Hears torch's warnings of a wait whatever happens to `warnings`, by a filter that stays the first.

torch warns after the operator has run, and what Python raises from the warning comes out of the operator. Hooking
`warnings.showwarning` does not last: `catch_warnings(record=True)`, as pytest uses it, takes the hook off, and
`simplefilter("ignore")` ends a warning before any hook. The filters are asked first and always, so one of them listens:
Python calls `match` of the pattern of each entry, which may be any object.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any, SupportsIndex

from syncwatch.compat.cpython import warnings_changed

MESSAGE = "called a synchronizing CUDA operation"
PROTOTYPE = "Synchronization debug mode is a prototype"
"""What torch says once when the mode is set."""

WarningHandler = Callable[["FrameType | None"], bool]
"""Takes the frame that waits; returns whether the warning goes no further."""


class SyncWarnings:
    """Hears every warning of a wait between `start` and `stop`, on every thread.

    Code that assigns a list of its own to `warnings.filters` ends this, which `catch_warnings` does not.
    """

    def __init__(self, is_own_call: WarningHandler) -> None:
        self._entry = ("ignore", _Pattern(is_own_call), Warning, None, 0)
        self._before: list[Any] = []

    def start(self) -> None:
        """Put the filter first; what was shown once already is heard again."""
        self._before = _filters()
        _set_filters(_Pinned(self._entry, self._before))

    def stop(self) -> None:
        """Take the filter out; what else was changed in the meantime stays."""
        now = _filters()
        if isinstance(now, _Pinned) and now.entry is self._entry:
            rest = now.rest()
            # The very list, where nothing changed: others may hold it.
            _set_filters(self._before if rest == list(self._before) else rest)
        elif any(each is self._entry for each in now):
            # Who began later listens on.
            kept = [each for each in now if each is not self._entry]
            _set_filters(_Pinned(now.entry, kept) if isinstance(now, _Pinned) else kept)


class _Pattern:
    """Stands where a filter has the compiled pattern of its message."""

    def __init__(self, is_own_call: WarningHandler) -> None:
        self._hears = is_own_call

    def match(self, text: str) -> bool:
        """Return whether the warning is to be ignored; raises what the listener raises."""
        if MESSAGE in text:
            return self._hears(_outside_warnings(sys._getframe(1)))
        return PROTOTYPE in text


class _Pinned(list[Any]):
    """A list of filters in which one entry stays first; so do its copies, which `catch_warnings` makes."""

    def __init__(self, entry: Any, rest: Iterable[Any]) -> None:
        super().__init__([entry, *(each for each in rest if each is not entry)])
        self.entry = entry

    def rest(self) -> list[Any]:
        """Return the other entries."""
        return [each for each in self if each is not self.entry]

    def insert(self, index: SupportsIndex, item: Any) -> None:
        super().insert(max(1, index.__index__()) if index.__index__() >= 0 else index, item)

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        return _Pinned(self.entry, found) if index == slice(None) else found

    def __setitem__(self, index: Any, value: Any) -> None:
        super().__setitem__(index, _Pinned(self.entry, value) if index == slice(None) else value)

    def __delitem__(self, index: Any) -> None:
        super().__delitem__(index)
        self[:] = list(self)

    def clear(self) -> None:
        self[:] = []


def _filters() -> list[Any]:
    return warnings.filters  # type: ignore[return-value]  # a list, typed as a sequence in typeshed


def _set_filters(filters: list[Any]) -> None:
    warnings.filters = filters
    warnings_changed()


def _outside_warnings(frame: FrameType | None) -> FrameType | None:
    while frame is not None and frame.f_code.co_filename == warnings.__file__:
        frame = frame.f_back
    return frame
