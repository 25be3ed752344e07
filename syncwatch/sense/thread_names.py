"""Finds what a thread is called, also one that Python did not start, such as autograd's."""

from __future__ import annotations

import threading
from pathlib import Path

AUTOGRAD = "autograd backward"
_PREFIXES = {"pt_autograd": AUTOGRAD, "pt_data_pin": "DataLoader pinning", "pt_data_worker": "DataLoader"}
"""How torch names its threads to the system, and what they are."""


def thread_name() -> str:
    """Return the name of the calling thread."""
    name = threading.current_thread().name
    if "_pin_memory_loop" in name:
        return "DataLoader pinning"
    if not name.startswith("Dummy-"):
        return name
    native = _native_name()
    for prefix, meaning in _PREFIXES.items():
        if native.startswith(prefix):
            return f"{meaning} ({native})"
    return native or name


def _native_name() -> str:
    """Return what the system calls the calling thread; empty where it does not tell."""
    try:
        return Path(f"/proc/self/task/{threading.get_native_id()}/comm").read_text().strip()
    except OSError:
        return ""
