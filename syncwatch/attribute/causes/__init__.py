"""All causes of waits that syncwatch knows. One file a family; `CAUSES` holds all of them by code."""

from __future__ import annotations

from syncwatch.attribute.causes import copies, other_waits, reading, shapes
from syncwatch.attribute.causes.base import Cause, by_code

CAUSES: dict[str, Cause] = by_code(
    cause
    for family in (reading, shapes, copies, other_waits)
    for cause in vars(family).values()
    if isinstance(cause, Cause)
)
"""Every cause by its code."""

__all__ = ["CAUSES", "Cause"]
