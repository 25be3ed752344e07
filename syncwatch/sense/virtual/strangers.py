"""Answers: what of threads that began in C, or before the device was on? They have no modes, and see CPU tensors.

Such a thread is noticed when it reads a tensor, and watched from then on. What it did before is not known, and is said.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch

from syncwatch.sense import thread_ends
from syncwatch.sense.threads import thread_name
from syncwatch.sense.virtual.engine import Engine
from syncwatch.sense.virtual.patching import Patches

_READS = ("item", "tolist", "numpy", "__bool__", "__float__", "__int__")
"""Those that give Python a value. `bench.replay` wraps others, and knows them by what they are."""


def patch(patches: Patches, engine: Engine, modes: Callable[[], AbstractContextManager[Any]]) -> None:
    """Look at each thread that reads a tensor whether it is watched."""

    def watched(plain: Any) -> Any:
        @functools.wraps(plain)
        def read(self: Any, *args: Any, **kwargs: Any) -> Any:
            state = engine.state()
            if state.function_mode is None and engine.active and not _has_modes():
                # For the rest of the thread: nobody tells of its end.
                state.stranger = modes()
                state.stranger.__enter__()
                thread_ends.note_stranger(thread_name())
            return plain(self, *args, **kwargs)

        return read

    for name in _READS:
        patches.set(torch.Tensor, name, watched(getattr(torch.Tensor, name)))


def _has_modes() -> bool:
    """Return whether the modes of another thread came here with its work, as to autograd's."""
    return bool(torch._C._len_torch_function_stack() or torch._C._len_torch_dispatch_stack())
