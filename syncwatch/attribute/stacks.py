"""Finds the user's line in a raw stack, and the frames of torch that lie below it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from syncwatch.model.events import LIBRARY_FILES, Frame

_PLUMBING = (
    "torch/_compile.py",
    "torch/_dynamo/",
    "torch/_ops.py",
    "torch/overrides.py",
    "torch/utils/_contextlib.py",
    "torch/utils/_device.py",
    "torch/utils/_python_dispatch.py",
    "torch/utils/_stats.py",
)
"""Frames that only pass a call on; a function mode puts them there on one device and not on the other."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a stack waited."""

    user: Frame | None
    """The innermost line outside torch, triton, numpy, the standard library and syncwatch."""
    below: tuple[Frame, ...]
    """The frames of torch between the user's line and the wait, innermost first, without mere plumbing."""

    @property
    def waiter(self) -> Frame | None:
        """Return the innermost line of Python that means something: torch's own, or the user's."""
        return self.below[0] if self.below else self.user


def is_user(frame: Frame) -> bool:
    """Return whether a reader of the report can edit this line."""
    if frame.file.startswith("<") and not frame.file.startswith("<ipython"):
        return False
    return not frame.file.startswith(LIBRARY_FILES)


def locate(frames: Sequence[Frame]) -> Place:
    """Return the place of a stack given innermost first."""
    below: list[Frame] = []
    for frame in frames:
        if is_user(frame):
            return Place(frame, tuple(below))
        if frame.file.startswith("torch/") and not frame.file.startswith(_PLUMBING):
            below.append(frame)
    return Place(None, tuple(below))
