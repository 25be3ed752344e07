"""Refuses the device to a process that was forked from one which used it, as CUDA does.

CUDA cannot be initialized twice, and torch says so. A process that was forked before the device was used may use it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch

from syncwatch.sense.patching import Patches
from syncwatch.sense.processes import forks
from syncwatch.sense.recorder import Recorder
from syncwatch.sense.virtual.engine import Engine
from syncwatch.sense.virtual.native.calls import calls

REFUSAL = (
    "Cannot re-initialize CUDA in forked subprocess. To use CUDA with multiprocessing, you must use the 'spawn' start "
    "method"
)
"""The words of `torch.cuda._lazy_init`."""
_EMPTY = ("empty", "empty_like", "empty_strided", "empty_permuted")
"""What makes a tensor and launches nothing, so that nobody is told of it."""

_engine: Engine | None = None


def patch(patches: Patches, engine: Engine) -> None:
    """Watch the forks of this process until `patches` are restored."""
    global _engine
    _engine = engine
    patches.undo_with(_forget)


def _forget() -> None:
    global _engine
    _engine = None


def _in_child() -> None:
    if _engine is None or not _engine.used:
        return
    refusing = Recorder(now_ns=_engine.now_ns)
    refusing.after = _refuse
    # Not by `record_into`: another thread of the parent may have held its lock, and nobody lets go of it here.
    _engine.recorders = (refusing,)
    calls().sw_record(1, 1)
    cuda: Any = torch.cuda
    cuda._is_in_bad_fork = lambda: True
    cuda.is_initialized = lambda: False
    cuda._lazy_init = cuda.init = _refuse
    for name in _EMPTY:
        setattr(torch, name, _hosts_alone(getattr(torch, name)))


def _refuse(_event: object = None) -> None:
    forks.note(forks.ForkActivity.USED_GPU)
    raise RuntimeError(REFUSAL)


def _hosts_alone(plain: Callable[..., Any]) -> Callable[..., Any]:
    def make(*args: Any, **kwargs: Any) -> Any:
        made = plain(*args, **kwargs)
        if made.is_cuda:
            _refuse()
        return made

    return make


os.register_at_fork(after_in_child=_in_child)
