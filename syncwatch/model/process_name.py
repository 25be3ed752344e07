"""What a process of a trace is called, and what of that is the same in the next trace."""

from __future__ import annotations

import re

_NUMBERED = re.compile(r"^process \d+")


def process_name(number: object, *, machine: int | None = None) -> str:
    """Return the name of a process that has no rank.

    Args:
        number: the system's number of it; None where the trace has none.
        machine: which of several machines it ran on, from 1, where two have a process of this number.
    """
    name = "process" if number is None else f"process {number!r}"
    return name if machine is None else f"{name}, machine {machine}"


def without_number(name: str) -> str:
    """Return `name` as `process_name` gives it without the number, which is another one in the next trace."""
    return _NUMBERED.sub("process", name)
