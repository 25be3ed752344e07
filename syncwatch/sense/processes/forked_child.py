"""In the child of a fork no sensor records any more; that it used the GPU is noted for the watched process."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

from syncwatch.sense import active
from syncwatch.sense.processes.forks import ForkActivity, note_activity, on_gpu_work


def register() -> None:
    """Let every later fork of this process begin so; once is enough."""
    global _registered
    if not _registered:
        os.register_at_fork(after_in_child=_in_child)
        _registered = True


_registered = False


def _in_child() -> None:
    note_activity(ForkActivity.NOTHING)
    for recorder in active.recorders():
        recorder.after = on_gpu_work
    active.clear()
    _watch_initialisation()


def _watch_initialisation() -> None:
    """Note it when this child turns to CUDA, which begins with this call for torch's C++ code too."""
    cuda: Any = sys.modules.get("torch.cuda")
    plain: Callable[[], None] | None = getattr(cuda, "_lazy_init", None)
    # On the virtual device it is another function, and says nothing.
    if plain is None or plain.__module__ != "torch.cuda":
        return

    def lazy_init() -> None:
        note_activity(ForkActivity.USED_GPU)
        plain()

    cuda._lazy_init = lazy_init
