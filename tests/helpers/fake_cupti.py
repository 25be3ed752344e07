"""A libcupti of our own, by which a test plays what a program, the driver and the GPU do; built once for a process.

`records.cpp` keeps the first CUPTI that it loads for the rest of the process, so every test has the same one.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
import torch

from syncwatch.sense import active
from syncwatch.sense.cuda.cupti import Cupti, Records

SONAME, CUDA = "libcupti.so.0", "0.0"
"""What the fake is called, and the version of CUDA whose CUPTI is called so."""
STREAM, DEVICE, EVENT = 126, 17, 121
MARK, STREAM_WAIT = 119, 295
UPLOAD, READ, BLOCKING_READ = 277, 279, 278
ON_DEVICE, PEER, MALLOC = 281, 319, 243
LAUNCH, GRAPH, MEMSET, BEGIN_CAPTURE, END_CAPTURE = 307, 514, 253, 495, 497
"""Callback ids of driver calls, by what they do (cupti_driver_cbid.h)."""
_WHOLE, _BEGINS, _ENDS, _BARE = range(4)


class Played(ctypes.Structure):
    """One call of a program."""

    _fields_ = (
        ("number", ctypes.c_uint32),
        ("id", ctypes.c_uint32),
        ("bytes", ctypes.c_int64),
        ("what", ctypes.c_uint32),
    )


class Record(ctypes.Structure):
    """One record of any kind."""

    _fields_ = (
        *((name, ctypes.c_uint32) for name in ("kind", "id", "device", "context", "stream")),
        *((name, ctypes.c_uint32) for name in ("way", "source", "target", "type", "event")),
        *((name, ctypes.c_int64) for name in ("start", "end", "bytes")),
        ("name", ctypes.c_char_p),
    )


Program = Any
"""An array of `Played`, which ends with one of zeros."""


def program(*calls: tuple[int, ...]) -> Program:
    """Return calls that one instruction of Python makes one after the other: number, correlation id, bytes, part."""
    return (Played * (len(calls) + 1))(*(Played(*each) for each in calls))


def begins(number: int, identity: int) -> tuple[int, ...]:
    """Return the begin of a call alone."""
    return number, identity, 0, _BEGINS


def ends(number: int, identity: int) -> tuple[int, ...]:
    """Return the end of a call alone."""
    return number, identity, 0, _ENDS


def bare(number: int, identity: int) -> tuple[int, ...]:
    """Return a call without parameters."""
    return number, identity, 0, _BARE


class FakeCupti:
    """Plays a program; `play` is called as C is, so that the line that calls it is the one that waits."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self.library = library
        self.play: Callable[[Program], None] = library.fake_play
        self.play_elsewhere: Callable[[Program], None] = library.fake_play_elsewhere
        library.fake_now.restype = ctypes.c_int64
        library.fake_clock_ahead.argtypes = (ctypes.c_int64,)
        for name in ("drop", "shift_kernels"):
            getattr(library, f"fake_{name}").argtypes = (ctypes.c_size_t,)
        self._names: list[bytes] = []

    def kernel(self, identity: int, *, name: str = "k", stream: int = 7, start: int = 0, end: int = 0) -> None:
        """Let the GPU have run a kernel; it is told of with the next buffer. Without a start it runs now."""
        self._names.append(name.encode())
        self._record(kind=10, id=identity, name=self._names[-1], stream=stream, **self._span(start, end))

    def memset(self, identity: int, size: int) -> None:
        """Let the GPU have set `size` bytes."""
        self._record(kind=2, id=identity, bytes=size, stream=7, **self._span(0, 0))

    def copied(self, identity: int, size: int, *, way: int, source: int, target: int, kind: int = 1) -> None:
        """Let the GPU have copied; `way`, `source` and `target` count as CUPTI does, kind 22 is a peer copy."""
        ends = {"way": way, "source": source, "target": target, "bytes": size}
        self._record(kind=kind, id=identity, stream=7, **ends, **self._span(0, 0))

    def read(self, identity: int, size: int, *, pinned: bool = False) -> None:
        """Let the GPU have copied to the host."""
        self.copied(identity, size, way=2, source=3, target=2 if pinned else 1)

    def upload(self, identity: int, size: int, *, pinned: bool = False) -> None:
        """Let the GPU have copied from the host."""
        self.copied(identity, size, way=1, source=2 if pinned else 1, target=3)

    def waited(self, identity: int, *, type: int = 3, stream: int = 7, event: int = 0) -> None:
        """Let a wait be recorded: 1 for an event, 3 for a stream, 4 for all; 2 lets a stream wait, not the host."""
        self._record(kind=38, id=identity, type=type, stream=stream, event=event)

    def marked(self, identity: int, *, event: int, stream: int = 7) -> None:
        """Let a stream have recorded an event."""
        self._record(kind=36, id=identity, stream=stream, event=event)

    def unknown(self) -> None:
        """Let a record come of a kind that nobody asked for."""
        self._record(kind=999)

    def _span(self, start: int, end: int) -> dict[str, int]:
        start = start or self.library.fake_now()
        return {"start": start, "end": end or start + 10}

    def _record(self, **fields: Any) -> None:
        self.library.fake_record(ctypes.byref(Record(device=3, context=1, **fields)))

    def deliver(self) -> None:
        """Hand over the records so far, in a buffer of their own."""
        self.library.fake_deliver()

    def now(self) -> int:
        """Return the time by CUPTI's clock."""
        return int(self.library.fake_now())

    def refuse(self, number: int) -> None:
        """Know no callback of this number."""
        self.library.fake_refuse(number)

    def give_to_another(self, on: bool = True) -> None:
        """Have a subscriber already."""
        self.library.fake_take(on)

    def drop(self, count: int) -> None:
        """Say with the next buffer that `count` records were dropped."""
        self.library.fake_drop(count)

    def run_ahead(self, ns: int) -> None:
        """Let CUPTI's clock be ahead of the system's."""
        self.library.fake_clock_ahead(ns)

    def shift_kernels(self, count: int) -> None:
        """Lay the times of kernels `count` bytes further behind."""
        self.library.fake_shift_kernels(count)

    @property
    def is_subscribed(self) -> bool:
        """Whether somebody hears of calls."""
        return bool(self.library.fake_is_subscribed())

    @property
    def records_asked(self) -> int:
        """How many kinds of records are recorded now."""
        return int(self.library.fake_records_asked())


@cache
def _built() -> ctypes.CDLL | None:
    compiler = shutil.which("g++") or shutil.which("clang++") or shutil.which("c++")
    if compiler is None:
        return None
    folder = Path(mkdtemp(prefix="syncwatch-fake-cupti-"))
    try:
        output = folder / SONAME
        source = Path(__file__).with_suffix(".cpp")
        options = ["-std=c++17", "-O1", "-Wall", "-Werror", "-fPIC", "-shared", "-pthread", f"-Wl,-soname,{SONAME}"]
        subprocess.run([compiler, *options, str(source), "-o", str(output)], check=True)
        # Whoever opens the name from now on gets this one.
        return ctypes.CDLL(str(output))
    finally:
        shutil.rmtree(folder)


@contextmanager
def fake_cupti(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCupti]:
    """Let this process have a CUPTI, and a torch that was built for it and has initialised CUDA."""
    if torch.cuda.is_available():
        pytest.skip("CUPTI's own library may be loaded in this process")
    library = _built()
    if library is None:
        pytest.skip("there is no C++ compiler")
    monkeypatch.setattr(torch.version, "cuda", CUDA)
    monkeypatch.setattr(torch.cuda, "_lazy_call", lambda call: call())
    library.fake_reset()
    try:
        yield FakeCupti(library)
    finally:
        library.fake_reset()
        active.set_subscribed(False)


def fake_debug_mode(monkeypatch: pytest.MonkeyPatch, mode: int = 0) -> list[int]:
    """Give torch a sync debug mode; the last of what is returned is the mode that is set."""
    modes = [mode]
    monkeypatch.setattr(torch._C, "_cuda_get_sync_debug_mode", lambda: modes[-1], raising=False)
    monkeypatch.setattr(torch._C, "_cuda_set_sync_debug_mode", modes.append, raising=False)
    return modes


class Watch:
    """A subscription, and what it was told."""

    def __init__(self, *, records: bool = True) -> None:
        self.told: list[tuple[int, int, int, int, int]] = []
        self.cupti = Cupti(lambda *each: self.told.append(each), records=records)

    def end(self, steps: Sequence[tuple[int, int]] = (), ahead: int = 0) -> Records:
        """End it; return what was recorded."""
        self.cupti.close()
        return self.cupti.records(steps, ahead)
