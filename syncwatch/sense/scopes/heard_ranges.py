"""Hears the ranges of torch and nvtx, and the starts of threads, while somebody watches.

Nothing stays patched afterwards.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from syncwatch.sense.patching import Patches
from syncwatch.sense.scopes import nvtx_ranges, scope, thread_starts, torch_ranges

_lock = threading.Lock()
_patches = Patches()
_watches = 0


@contextlib.contextmanager
def heard() -> Iterator[None]:
    """Hear the ranges of torch and nvtx inside, too; blocks nest and may overlap."""
    listen()
    try:
        yield
    finally:
        stop_listening()


def listen() -> None:
    """Hear the ranges of torch and nvtx from now on, until `stop_listening` was called as often."""
    global _watches
    with _lock:
        _watches += 1
        if _watches == 1:
            torch_ranges.patch(_patches)
            nvtx_ranges.patch(_patches)
            thread_starts.patch(_patches)


def stop_listening() -> None:
    """Hear them no more, and leave nothing patched."""
    global _watches
    with _lock:
        _watches -= 1
        if not _watches:
            _patches.restore()
            scope.close_foreign_ranges()
