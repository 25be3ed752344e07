"""Names the categories of kineto's rows and of ours, and writes times in microseconds without rounding.

What writes an export and what reads it back agree here.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

import msgspec

OWN_KEY = "syncwatch"
"""The key beside `traceEvents` that other readers ignore: what Chrome's events have no place for."""
OWN_SCHEMA = "syncwatch.chrome/1"

CALL = "cuda_runtime"
DRIVER_CALL = "cuda_driver"
KERNEL = "kernel"
COPY = "gpu_memcpy"
MEMSET = "gpu_memset"
RANGE = "user_annotation"
FLOW = "ac2g"
"""These six are kineto's."""

STEP = "syncwatch.step"
SYNC = "syncwatch.sync"
BUBBLE = "syncwatch.bubble"

_FIRST_US, _LAST_US = -Decimal(2**64 // 1000), Decimal(2**64 // 1000)
"""Beyond them no clock counts; a file may hold any number."""


def microseconds(ns: int) -> msgspec.Raw:
    """Return `ns` as JSON in microseconds with three decimals, as kineto writes `ts` and `dur`."""
    whole, rest = divmod(abs(ns), 1000)
    return msgspec.Raw(f"{'-' if ns < 0 else ''}{whole}.{rest:03d}".encode("ascii"))


def nanoseconds(us: object) -> int | None:
    """Return what a trace calls `us` in nanoseconds; None if it is no number that a clock shows.

    Args:
        us: an integer, or a `Decimal` as written in the file; what lies below a nanosecond is rounded off.
    """
    if isinstance(us, Decimal):
        try:
            return round(us * 1000) if _FIRST_US <= us <= _LAST_US else None
        except InvalidOperation:
            return None  # a NaN
    if isinstance(us, int) and not isinstance(us, bool) and _FIRST_US <= us <= _LAST_US:
        return us * 1000
    return None
