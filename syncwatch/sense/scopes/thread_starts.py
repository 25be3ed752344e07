"""Notes in which steps a thread was started, at its start, while somebody watches."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

from syncwatch.sense import active
from syncwatch.sense.patching import Patches


def patch(patches: Patches) -> None:
    """Note in which steps threads are started from now on, until `patches` are taken back."""
    plain: Callable[..., Any] = threading.Thread.start

    @functools.wraps(plain)
    def start(self: threading.Thread, *args: Any, **kwargs: Any) -> Any:
        for recorder in active.recorders():
            for step in recorder.open_steps:
                step.includes(self)
        return plain(self, *args, **kwargs)

    patches.set(threading.Thread, "start", start)
