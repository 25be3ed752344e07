"""Finds the native library for the installed torch, or has it built, loads it, and types what Python calls in it.

The library is C++ against torch's own headers, so each version and build of torch has its own, under a name that
changes with torch and with the sources. For some it comes with the package (`built/`); for others it is built once
(`build.py`) and kept in the user's cache folder.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress
from ctypes import c_char_p, c_int64, c_void_p
from dataclasses import astuple
from functools import cache
from pathlib import Path
from typing import Any

import torch

from syncwatch.errors import NotMeasuredError
from syncwatch.sense.cplusplus import CACHE, folders
from syncwatch.sense.virtual.clock.rates import Rates
from syncwatch.sense.virtual.native import build
from syncwatch.sense.virtual.native.build import file_name, present, shipped


@cache
def load() -> ctypes.CDLL:
    """Return the library, built if it was not there.

    Raises:
        NotMeasuredError: if it cannot be built here.
    """
    outcome = _outcome()
    if isinstance(outcome, str):
        raise NotMeasuredError(outcome)
    return outcome


@cache
def _outcome() -> ctypes.CDLL | str:
    """Return the library, or why there is none: a build that failed is not tried again in this process."""
    for path in present():
        library = _opened(path)
        if not isinstance(library, str):
            return library
        # Made on another machine, or for another build that calls itself by the same version.
        _forget(path)
    try:
        path = build.build(file_name(), folders())
    except NotMeasuredError as error:
        return str(error)
    return _opened(path)


def _opened(path: Path) -> ctypes.CDLL | str:
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        return (
            f"The virtual device's library {path} cannot be loaded ({error}). Remove it, or name another folder in "
            f"{CACHE}, and it is built anew."
        )


def state() -> str:
    """Return a sentence on where the library is, or what will be done for it; nothing is built or loaded."""
    found = next(iter(present()), None)
    said = f"The virtual device's library for torch {torch.__version__}"
    if found is not None:
        return f"{said} {'came with syncwatch' if found == shipped() else 'was built here'}: {found}"
    try:
        compiler = " ".join(build.wanted().compiler())
    except NotMeasuredError as error:
        return str(error)
    return f"{said} will be built at its first use, by {compiler}, in about half a minute: {folders()[0] / file_name()}"


def missing() -> str | None:
    """Return why the library cannot be had here, or None where it is there or can be built."""
    if present():
        return None
    try:
        build.wanted().compiler()
    except NotMeasuredError:
        return "no C++ compiler to build its library with"
    return None


def _forget(path: Path) -> None:
    if path != shipped():
        with suppress(OSError):
            path.unlink()


ASK = ctypes.CFUNCTYPE(c_int64, c_int64, ctypes.POINTER(c_int64))
"""What C++ calls: a question, and the numbers that belong to it."""
FAILED = -(1 << 63)
"""The answer of a question that raised."""


class SpanOut(ctypes.Structure):
    """A stretch of virtual time, in ns, as C++ hands it over."""

    _fields_ = (("start", c_int64), ("end", c_int64))


SINGLE_COUNTS = (
    *("capacity", "allowed", "taken", "retries", "failures"),
    *("synchronized", "segments_taken", "segments_given"),
)
FIGURES = 9
"""How many are counted for all, small and large pools: four numbers each."""


class Counts(ctypes.Structure):
    """What the allocator counts; the fields are those of `Counts` in pieces.h."""

    _fields_ = (
        *((name, c_int64) for name in SINGLE_COUNTS),
        ("figures", c_int64 * (4 * 3 * FIGURES)),
    )


_NOTHING: dict[str, tuple[Any, ...]] = {
    "sw_start": (ctypes.POINTER(c_int64), ASK),
    "sw_stop": (),
    "sw_look_at_fresh_operators": (),
    "sw_set_stream": (c_int64,),
    "sw_set_epoch": (c_int64,),
    "sw_set_common_epoch": (c_int64,),
    "sw_pause": (c_int64,),
    "sw_backward": (c_int64,),
    "sw_hold": (c_int64, c_int64),
    "sw_queue": (c_int64, c_int64, c_int64, ctypes.POINTER(SpanOut)),
    "sw_copy": (c_int64, c_int64, c_int64, c_int64, ctypes.POINTER(SpanOut)),
    "sw_copy_and_wait": (c_int64, c_int64, c_int64, c_int64, ctypes.POINTER(c_int64)),
    "sw_wait": (c_int64, c_int64, ctypes.POINTER(SpanOut)),
    "sw_record": (c_int64, c_int64),
    "sw_take": (c_void_p, c_int64),
    "sw_counts": (ctypes.POINTER(Counts),),
    "sw_host_counts": (ctypes.POINTER(c_int64),),
    "sw_reset_peak": (c_int64,),
    "sw_reset_accumulated": (c_int64,),
    "sw_allow": (c_int64,),
    "sw_begin_pool": (c_int64,),
    "sw_end_pool": (c_int64,),
    "sw_leave_pool": (c_int64,),
    "sw_clear_workspaces": (),
    "sw_fail": (c_void_p, c_void_p, c_void_p),
    "sw_capture_end": (),
    "sw_capture_free": (c_void_p,),
    "sw_capture_kernel": (c_void_p, c_int64, ctypes.POINTER(c_int64), ctypes.POINTER(c_int64)),
}
_NUMBER: dict[str, tuple[Any, ...]] = {
    "sw_name": (c_char_p,),
    "sw_launch": (c_int64, c_int64),
    "sw_now": (),
    "sw_work": (c_int64,),
    "sw_stream": (),
    "sw_new_stream": (c_int64,),
    "sw_tail": (c_int64,),
    "sw_busy_until": (),
    "sw_used": (),
    "sw_rows": (),
    "sw_empty_cache": (c_int64,),
    "sw_capture_kernels": (c_void_p,),
    "sw_capture_replay": (c_void_p,),
}


@cache
def calls() -> Any:
    """Return the library with the types of its functions set.

    Raises:
        NotMeasuredError: if it cannot be built here.
    """
    # The GIL is kept: none of these blocks, and giving it up costs more than what they do.
    library = load()
    keeping = ctypes.PyDLL(library._name)
    for name, arguments in _NOTHING.items():
        _typed(keeping, name, None, arguments)
    for name, arguments in _NUMBER.items():
        _typed(keeping, name, c_int64, arguments)
    _typed(keeping, "sw_capture_begin", c_void_p, ())
    _typed(keeping, "sw_operator", c_char_p, (c_int64,))
    _typed(keeping, "sw_name_of", c_char_p, (c_int64,))
    return keeping


def _typed(library: Any, name: str, result: Any, arguments: tuple[Any, ...]) -> None:
    function = getattr(library, name)
    function.restype, function.argtypes = result, arguments


def rates_for(rates: Rates) -> Any:
    """Return the rates as C++ reads them."""
    values = astuple(rates)
    return (c_int64 * len(values))(*values)
