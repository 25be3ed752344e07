"""Answers: what does a row of the table ask of the runtime for these arguments? For tests of the rows alone."""

from __future__ import annotations

from typing import Any

from syncwatch.sense.virtual.device import running_engine
from syncwatch.sense.virtual.operators.table import OpCall, RuntimeCall
from syncwatch.sense.virtual.operators.traits import known


def calls(overload: Any, *args: object, **kwargs: object) -> list[RuntimeCall]:
    """Return what the row of `overload` asks for; the device must be on."""
    found = known(overload.name())
    assert found.row is not None
    engine = running_engine()
    assert engine is not None
    with engine.unseen():
        return list(found.row.calls(OpCall(found.name, args, kwargs, found.positions)))


def waits(asked: list[RuntimeCall]) -> int:
    """Return how many of `asked` the host stands still for."""
    return sum(call.wait is not None for call in asked)
