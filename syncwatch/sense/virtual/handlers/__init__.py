"""Answers: which torch functions are told about the device? One table; a family of functions a file."""

from __future__ import annotations

from typing import Any

from syncwatch.sense.virtual.function_mode import Handler
from syncwatch.sense.virtual.handlers import branches, factories, indexing, looking, moving, whole


def all_handlers() -> dict[Any, Handler]:
    """Return the handler of every torch function that has one.

    Raises:
        ValueError: if two families claim a function.
    """
    merged: dict[Any, Handler] = {}
    for family in (looking, moving, factories, indexing, branches, whole):
        for func, handler in family.handlers().items():
            if func in merged:
                raise ValueError(f"{func} has two handlers")
            merged[func] = handler
    return merged
