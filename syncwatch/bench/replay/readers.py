"""The calls of torch that can be replayed, each with how it is recorded and how it is replayed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from syncwatch.bench.replay import moves, shapes, values
from syncwatch.bench.replay.ways import Way
from syncwatch.compat.cpython import slots_are_known


@dataclass(frozen=True, slots=True)
class Reader:
    """One callable of torch that can make the host wait, and how it is replayed."""

    owner: Any
    name: str
    way: Way

    @property
    def key(self) -> str:
        """Name it among all readers."""
        return f"{getattr(self.owner, '__name__', self.owner)}.{self.name}"


def readers() -> tuple[Reader, ...]:
    """Return every reader there is."""
    return tuple(_readers())


def _readers() -> Iterator[Reader]:
    tensor = torch.Tensor
    for name in ["item", "tolist", "cpu", "__bool__", "__int__", "__float__", "__index__", "__complex__"]:
        yield Reader(tensor, name, values.HOST_VALUE)
    for owner in (torch, tensor):
        for name in ("equal", "allclose", "is_nonzero"):
            yield Reader(owner, name, values.HOST_VALUE)
        yield Reader(owner, "nonzero", shapes.NONZERO)
        yield Reader(owner, "argwhere", shapes.NONZERO)
        yield Reader(owner, "masked_select", shapes.MASKED_SELECT)
        yield Reader(owner, "repeat_interleave", shapes.REPEAT_INTERLEAVE)
    yield Reader(torch, "where", shapes.WHERE)
    if slots_are_known():
        yield Reader(tensor, "__getitem__", shapes.GET_ITEM)
        yield Reader(tensor, "__setitem__", shapes.SET_ITEM)
    yield Reader(tensor, "to", moves.MOVE)
    yield Reader(tensor, "cuda", moves.MOVE)
    yield Reader(tensor, "copy_", moves.COPY_INTO)
    yield Reader(tensor, "new_tensor", moves.UPLOAD)
    for name in ("tensor", "as_tensor", "scalar_tensor"):
        yield Reader(torch, name, moves.UPLOAD)
    for waited in (torch.cuda, torch.cuda.Stream, torch.cuda.Event):
        yield Reader(waited, "synchronize", values.WAIT)
