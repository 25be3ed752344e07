"""Finds the user's line in a raw stack, torch's frames below it, and the NVTX range that stands for an unknown line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from syncwatch.model.events import LIBRARY_FILES, Frame

_TORCH_PREFIX = "aten::"
"""Ranges that `torch.autograd.profiler.emit_nvtx` puts around each operator; as frames of torch, they are nobody's."""
_TORCH_OWN = ("Optimizer.", "enumerate(DataLoader)", "DataParallel.", "DistributedDataParallel.", "FSDP", "## ")
"""Ranges that torch puts around its own parts; as our hooks record them, they name no code of the user's."""
_NUMBER = re.compile(r"0x[0-9a-fA-F]+|#?\d+")
"""Addresses, `layer 7`, `ProfilerStep#12`: what differs from step to step and from run to run."""


def range_of(names: Sequence[str], *, live: bool) -> str | None:
    """Return the innermost of the nested ranges `names`, outermost first, with `#` for each number in it.

    Ranges around torch's operators count only where there are no others; None where there are none at all.

    Args:
        names: of the ranges.
        live: whether our own hooks recorded them, and not another program: ranges of torch's parts then do not count.
    """
    if live:
        names = [name for name in names if not name.startswith(_TORCH_OWN)]
    if not names:
        return None
    users = (name for name in reversed(names) if not name.startswith(_TORCH_PREFIX))
    return _NUMBER.sub("#", next(users, names[-1]))


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
class WaitPlace:
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


def locate(frames: Sequence[Frame]) -> WaitPlace:
    """Return the place of a stack given innermost first."""
    below: list[Frame] = []
    for frame in frames:
        if is_user(frame):
            return WaitPlace(frame, tuple(below))
        if frame.file.startswith("torch/") and not frame.file.startswith(_PLUMBING):
            below.append(frame)
    return WaitPlace(None, tuple(below))
