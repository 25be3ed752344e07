"""Notices that the watched program starts torch.profiler, just before it does."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

from syncwatch.compat.torch_cuda import PREPARE_PROFILER


@contextlib.contextmanager
def before_profiler(call: Callable[[], None]) -> Iterator[None]:
    """Call `call` before each torch.profiler that is started inside the block.

    torch.profiler becomes CUPTI's only subscriber at its first use, even where it is asked for the CPU alone. Where
    there is one already it sees no GPU for the rest of the process (torch 2.11 with CUDA 13.0), so whoever subscribes
    has to give up before.
    """
    if not PREPARE_PROFILER.is_there():
        yield
        return
    owner, name = PREPARE_PROFILER.owner(), PREPARE_PROFILER.attribute
    before = getattr(owner, name)

    @functools.wraps(before)
    def prepare(*args: Any, **kwargs: Any) -> Any:
        call()
        return before(*args, **kwargs)

    setattr(owner, name, prepare)
    try:
        yield
    finally:
        if getattr(owner, name) is prepare:
            setattr(owner, name, before)
