"""What Python calls in the native library: each function with the types that it takes."""

from __future__ import annotations

import ctypes
from ctypes import c_char_p, c_int64, c_void_p
from dataclasses import astuple
from functools import cache
from typing import Any

from syncwatch.sense.virtual.clock.rates import Rates
from syncwatch.sense.virtual.native.library import load

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
