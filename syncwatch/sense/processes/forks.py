"""Notes which processes were forked from the watched one, and whether one of them used the GPU.

A forked child has the sensors, and nobody who reads what they record. What it does with the GPU it notes in a page of
memory that it shares with the watched process and with its own children.
"""

from __future__ import annotations

import mmap
import os
import struct
from enum import IntFlag

_SLOTS = 4096
_SLOT = struct.Struct("=iI")


class ForkActivity(IntFlag):
    """What a forked process did."""

    NOTHING = 0
    USED_GPU = 1
    BECAME_PYTHON = 2
    BECAME_OTHER = 4
    """It replaced itself by another program, which is none of Python."""


_owner = os.getpid()
_page: mmap.mmap | None = None


def begin(*, nested: bool) -> None:
    """Let this process be the watched one, whose forks are noted; nothing where a watch around this one did so."""
    global _owner, _page
    if _page is None or not nested:
        _owner = os.getpid()
        # Anonymous and shared: a fork keeps it, another program in the place of the process does not.
        _page = mmap.mmap(-1, _SLOTS * _SLOT.size)


def is_child() -> bool:
    """Return whether this process was forked from the watched one."""
    return os.getpid() != _owner


def note_activity(what: ForkActivity) -> None:
    """Note what this process does, if it was forked from the watched one."""
    if is_child():
        _write(os.getpid(), what)


def forked() -> dict[int, ForkActivity]:
    """Return what every process did that was forked since `begin`, also from one that was, by its id."""
    if _page is None:
        return {}
    return {pid: ForkActivity(did) for pid, did in _SLOT.iter_unpack(_page[:]) if pid}


def _write(pid: int, what: ForkActivity) -> None:
    """Write into the slot of this process; no other writes there, so nothing is locked."""
    if _page is None:
        return
    for step in range(_SLOTS):
        place = (pid + step) % _SLOTS * _SLOT.size
        known, did = _SLOT.unpack_from(_page, place)
        if known in (0, pid):
            _SLOT.pack_into(_page, place, pid, did | what)
            return


def on_gpu_work(_event: object) -> None:
    """Note that this process uses the GPU."""
    note_activity(ForkActivity.USED_GPU)
