"""Answers: which line of Python stands behind a call? The caller's, or that of the thread that it works for."""

from __future__ import annotations

import sys
from types import FrameType

from syncwatch.compat.ranges import BACKWARD

"""The function of `torch/autograd/graph.py` in which a thread waits for autograd's own threads."""


def nearest_frame(frame: FrameType | None) -> FrameType | None:
    """Return `frame`, or for a thread without Python the frame of the only thread that waits in `backward`."""
    if frame is not None:
        return frame
    waiting = [other for other in sys._current_frames().values() if in_backward(other)]
    return waiting[0] if len(waiting) == 1 else None


def asked_for(frame: FrameType | None) -> bool:
    """Return whether a `synchronize` of torch's own Python called: the user asked for this wait."""
    if frame is None or frame.f_code.co_name != "synchronize":
        return False
    module = frame.f_globals.get("__name__", "")
    return isinstance(module, str) and module.split(".")[0] == "torch"


def in_backward(frame: FrameType) -> bool:
    """Return whether `frame` is where a thread waits for autograd's own threads."""
    return frame.f_code.co_name == BACKWARD.attribute
