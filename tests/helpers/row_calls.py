"""What a row of the table of blocking operators asks of the runtime for given arguments, for tests of single rows."""

from __future__ import annotations

from typing import Any

from syncwatch.sense.virtual.device import running_engine
from syncwatch.sense.virtual.operators.table import OpCall, RuntimeCall
from syncwatch.sense.virtual.operators.traits import traits_of


def calls(overload: Any, *args: object, **kwargs: object) -> list[RuntimeCall]:
    """Return the runtime calls that the row of `overload` asks for; the virtual device must be on."""
    found = traits_of(overload.name())
    assert found.row is not None
    engine = running_engine()
    assert engine is not None
    with engine.unseen():
        return list(found.row.calls(OpCall(found.name, args, kwargs, found.positions)))


def waits(asked: list[RuntimeCall]) -> int:
    """Return how many of the calls `asked` make the host wait."""
    return sum(call.wait is not None for call in asked)
