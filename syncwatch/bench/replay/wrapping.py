"""Sends calls of torch to the tape of a replay: only callables that waited are wrapped, and only while it runs."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import Any

from syncwatch.bench.replay.readers import Reader
from syncwatch.bench.replay.tape import Cursor, Mode, Tape
from syncwatch.compat.cpython import ItemSlots

_ITEMS = ("__getitem__", "__setitem__")


@contextlib.contextmanager
def wrapped(tape: Tape, readers: Iterable[Reader]) -> Iterator[None]:
    """Send every call of `readers` through `tape`; an operator mode would cost a host-bound step more than it gains."""
    found = tuple(readers)
    items = [ItemSlots.of(owner) for owner in {reader.owner for reader in found if reader.name in _ITEMS}]
    with contextlib.ExitStack() as restore:
        for slots in items:
            restore.callback(slots.put_back)
        for reader in found:
            own = reader.name in vars(reader.owner)
            original = getattr(reader.owner, reader.name)
            restore.callback(_put_back, reader, original, own)
            setattr(reader.owner, reader.name, _wrapper(tape, reader, original))
        for slots in items:
            slots.keep_no_sequence()
        yield


def _put_back(reader: Reader, original: Any, own: bool) -> None:
    if own:
        setattr(reader.owner, reader.name, original)
    else:
        delattr(reader.owner, reader.name)


def _wrapper(tape: Tape, reader: Reader, original: Any) -> Any:
    # A call that is a user's own line finds its cursor here: what a replay takes is missing from the gain it foretells.
    cursors: dict[tuple[int, int], Cursor | None] = {}

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if tape.mode is Mode.OFF or tape.inside or threading.get_ident() != tape.thread:
            return original(*args, **kwargs)
        frame = sys._getframe(1)
        place = (id(frame.f_code), frame.f_lasti)
        if place in cursors:
            cursor = cursors[place]
        else:
            cursor = tape.cursor_at(frame, reader)
            if not tape.skips(frame.f_code):
                cursors[place] = cursor
        return original(*args, **kwargs) if cursor is None else tape.run(cursor, reader, original, args, kwargs)

    wrapper.__name__ = reader.name
    # The virtual device knows the method by what is under the wrapper.
    wrapper.__wrapped__ = original  # type: ignore[attr-defined]
    return wrapper
