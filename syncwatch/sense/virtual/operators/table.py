"""The table of operators that wait for the device, with when, why, and by which copies. The rows are in `rows/`.

A name in a recording is `aten.` and the operator, without its overload: `aten.nonzero` for `aten::nonzero`, as torch's
profiler calls the innermost one on CUDA. What never reaches the dispatcher on the CPU has one of the names below.

A row belongs to an operator with all its overloads (`aten.nonzero`, `aten.nonzero.out`). It looks at the arguments and
returns what the CUDA implementation asks of the runtime, in order; nothing where it does not wait. Composite operators
have no row: the dispatcher takes them apart, and what they call is judged. Where a composite one takes another way on
CUDA than on the CPU (`one_hot`, `quantile`), `branches.py` takes that way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any, Final

import torch

from syncwatch.model.events import Direction, HostMemory, SyncKind

MOVE_OP: Final = "aten._to_copy"
"""`.to`, `.cuda`, `.cpu`, `.tolist`, `.type`, `torch.tensor(..., device=)`, `as_tensor`, `new_tensor`, `x[[0, 1]]`."""
COPY_OP: Final = "aten.copy_"
"""`copy_`, `x[0] = 1`, and storages that are saved, loaded or moved."""
SCALAR_OP: Final = "aten._local_scalar_dense"
"""`.item()`, `float`, `int`, `bool`, `if`, a scalar index or bound, tensors in `torch.tensor([...])`, `one_hot`."""
EXPLICIT_OP: Final = None
"""`synchronize` of the device, a stream or an event: the user asked, no operator did."""


@dataclass(frozen=True, slots=True)
class RuntimeCall:
    """A copy, a wait, or a copy that is waited for."""

    direction: Direction | None
    """None for a wait alone."""
    memory: HostMemory | None
    size: int
    wait: SyncKind | None


@lru_cache(maxsize=64)
def read(size: int) -> RuntimeCall:
    """Return a read of a few bytes through torch's own pinned buffer, as `.item()` does, and the wait for it."""
    return RuntimeCall(Direction.D2H, HostMemory.PINNED, size, SyncKind.STREAM)


def read_pageable(size: int) -> RuntimeCall:
    """Return a read into ordinary host memory, as `.cpu()` does, and the wait for it."""
    return RuntimeCall(Direction.D2H, HostMemory.PAGEABLE, size, SyncKind.STREAM)


def upload(size: int) -> RuntimeCall:
    """Return an upload from ordinary host memory, and the wait for it."""
    return RuntimeCall(Direction.H2D, HostMemory.PAGEABLE, size, SyncKind.STREAM)


def upload_pinned(size: int) -> RuntimeCall:
    """Return an upload from pinned memory that nobody waits for."""
    return RuntimeCall(Direction.H2D, HostMemory.PINNED, size, None)


WAIT = RuntimeCall(None, None, 0, SyncKind.STREAM)
"""A wait for the stream without any copy."""
WAIT_DEVICE = RuntimeCall(None, None, 0, SyncKind.DEVICE)
"""A wait for the whole device, as `cudaFree` inside a library causes."""
ALLOCATION = RuntimeCall(None, None, 0, SyncKind.ALLOCATION)
"""A `cudaMalloc` or `cudaFree` inside a library; counted apart from the synchronizations."""


class WaitReason(str, Enum):
    """Why an operator waits: stable slugs."""

    VALUE = "host-reads-value"
    """A Python number, a truth value or a scalar argument is read."""
    SIZE = "output-size"
    """The size of the output depends on the values."""
    CHECK = "host-checks-values"
    """The host looks at the values to refuse bad ones."""
    SOLVER = "solver-waits"
    """The library under the operator waits by itself."""
    UPLOAD = "host-data"
    """Host data is copied to the device on the way."""
    RANGE = "value-range"
    """A minimum or maximum is read to choose the range."""


def on_device(tensor: torch.Tensor) -> bool:
    """Return whether a tensor is on the virtual device: it says so of itself, or its storage is marked."""
    return tensor.is_cuda


@dataclass(frozen=True, slots=True)
class OpCall:
    """One call of an operator, by argument name."""

    name: str
    """`aten.nonzero`, without the overload."""
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    positions: Mapping[str, int]

    def get(self, name: str, default: Any = None) -> Any:
        """Return the argument called `name`, or `default` where it was not given."""
        if name in self.kwargs:
            return self.kwargs[name]
        position = self.positions.get(name)
        if position is None or position >= len(self.args):
            return default
        return self.args[position]

    def tensor(self, name: str) -> torch.Tensor:
        """Return the argument called `name`, which must be a tensor."""
        value = self.get(name)
        if not isinstance(value, torch.Tensor):
            raise TypeError(f"{self.name} has no tensor {name}")
        return value

    def resident(self, name: str) -> bool:
        """Return whether the argument called `name` is a tensor on the device."""
        value = self.get(name)
        return isinstance(value, torch.Tensor) and on_device(value)


Calls = Callable[[OpCall], Sequence[RuntimeCall]]


@dataclass(frozen=True, slots=True)
class BlockingOp:
    """A row of the table."""

    name: str
    reason: WaitReason
    why: str
    """One sentence: what the CUDA implementation does."""
    calls: Calls
    sparse: bool = False
    """Whether only sparse tensors make it wait, so that ordinary ones need not be asked."""
    host: bool = False
    """Whether only a tensor of the host among its arguments makes it wait."""
    by_form: bool = False
    """Whether sizes, types, places and numbers decide: never the values in tensors, or where their memory lies."""


_TABLE: dict[str, BlockingOp] = {}


def blocks(
    *names: str, reason: WaitReason, why: str, sparse: bool = False, host: bool = False, by_form: bool = False
) -> Callable[[Calls], Calls]:
    """Enter the decorated function as the row of the operators `names`, such as `aten.nonzero`.

    With `sparse`, the operator waits for sparse tensors only; with `host`, where an argument is a tensor of the host.
    With `by_form`, a call that asked nothing is not asked about again while its form stays the same: for rows that look
    at no values of tensors on the device, nor at addresses. Where a tensor of the host takes part it is always asked.

    Raises:
        ValueError: if an operator has a row already.
    """

    def enter(calls: Calls) -> Calls:
        for name in names:
            if name in _TABLE:
                raise ValueError(f"{name} has two rows")
            _TABLE[name] = BlockingOp(name, reason, why, calls, sparse, host, by_form)
        return calls

    return enter


def row_of(name: str) -> BlockingOp | None:
    """Return the row of the operator `name`, or None where it never waits."""
    return _TABLE.get(name)


def blocking_ops() -> Mapping[str, BlockingOp]:
    """Return the whole table by operator."""
    return dict(sorted(_TABLE.items()))
