"""Answers: what do lists do between square brackets? On CUDA each becomes an upload."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from syncwatch.sense.virtual import op_names
from syncwatch.sense.virtual.engine import Target
from syncwatch.sense.virtual.function_mode import Handler, VirtualFunctionMode
from syncwatch.sense.virtual.quiet import quiet
from syncwatch.sense.virtual.residency import is_resident, mark_resident
from syncwatch.sense.virtual.runtime_calls import upload

_SEQUENCES = (list, range, np.ndarray)
_TUPLE_LIMIT = 32
"""A longer list is never taken for a tuple of indices (`treatSequenceAsTuple`)."""
_NUMBERS = (int, float, complex, np.number, np.bool_)
_UNSIGNED = (torch.uint16, torch.uint32, torch.uint64)


def _getitem(mode: VirtualFunctionMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    tensor, index = args
    if isinstance(index, (*_SEQUENCES, tuple)) and is_resident(tensor):
        args = (tensor, _on_device(mode, index))
    return mode.call(func, args, kwargs, Target.INFER)


def _setitem(mode: VirtualFunctionMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    tensor, index, value = args
    if is_resident(tensor):
        if isinstance(index, (*_SEQUENCES, tuple)):
            index = _on_device(mode, index)
        if writes_numbers_as_they_are():
            index, value = _without_the_host(mode, tensor, index, value)
        args = (tensor, index, value)
    return mode.call(func, args, kwargs, Target.INFER)


def _without_the_host(mode: VirtualFunctionMode, tensor: torch.Tensor, index: Any, value: Any) -> tuple[Any, Any]:
    """Return index and value as CUDA takes them from torch 2.15 on (`at::indexing::set_item`).

    A scalar index stays on the device where it would be read for another value, and a number that has to be a tensor
    is made there. On the CPU torch would decide otherwise: an index on the host is beside its tensor there.
    """
    number = isinstance(value, _NUMBERS)
    if not number and not _is_scalar_beside(value, tensor):
        return index, value
    given = index if isinstance(index, tuple) else (index,)
    with quiet():
        kept = tuple(each.reshape(1) if _stays(each, tensor) else each for each in given)
    if number and _is_a_tensor_written(kept, tensor):
        value = mode.call(torch.scalar_tensor, (value,), {"dtype": tensor.dtype}, Target.DEVICE)
    return (kept if isinstance(index, tuple) else kept[0]), value


def _is_scalar_beside(value: Any, tensor: torch.Tensor) -> bool:
    return (
        isinstance(value, torch.Tensor)
        and not value.dim()
        and value.dtype == tensor.dtype
        and is_resident(value)
        and not _share_memory(value, tensor)
    )


def _stays(index: Any, tensor: torch.Tensor) -> bool:
    return (
        isinstance(index, torch.Tensor)
        and not index.dim()
        and index.dtype in (torch.int64, torch.int32)
        and is_resident(index)
        and tensor.dtype not in _UNSIGNED
        and not _share_memory(index, tensor)
    )


def _is_a_tensor_written(given: tuple[Any, ...], tensor: torch.Tensor) -> bool:
    """Return whether a number is made a tensor: where neither `masked_fill_` nor `index_fill_` does."""
    indices = [each for each in given if isinstance(each, torch.Tensor)]
    if not indices:
        return False
    if len(indices) > 1 or not is_resident(indices[0]):
        return True
    (index,) = indices
    if index.dtype in (torch.bool, torch.uint8):
        return False
    listed = index.dim() < 2 or index.is_contiguous()
    return index.dtype != torch.int64 or not listed or "float8" in str(tensor.dtype)


def _share_memory(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()


def _on_device(mode: VirtualFunctionMode, index: Any) -> Any:
    """Return `index` with every list in it uploaded."""
    if isinstance(index, tuple):
        return tuple(_upload(mode, each) if isinstance(each, _SEQUENCES) else each for each in index)
    if isinstance(index, list) and _is_tuple_of_indices(index):
        return tuple(_upload(mode, each) if isinstance(each, (*_SEQUENCES, tuple)) else each for each in index)
    return _upload(mode, index)


def _upload(mode: VirtualFunctionMode, sequence: Any) -> torch.Tensor:
    with quiet():
        indices = torch.as_tensor(sequence if isinstance(sequence, np.ndarray) else list(sequence))
        if indices.dtype not in (torch.bool, torch.uint8):
            indices = indices.long()
        mark_resident(indices, mode.engine.memory)
    if indices.numel():
        mode.engine.run(mode.state, upload(indices.numel() * indices.element_size()), op_names.MOVE)
    return indices


def _is_tuple_of_indices(index: list[Any]) -> bool:
    if not _lists_are_tuples() or len(index) >= _TUPLE_LIMIT:
        return False
    return any(each is None or each is ... or isinstance(each, (slice, torch.Tensor, list, tuple)) for each in index)


class _Seen(TorchDispatchMode):
    """Keeps the names of the operators that run inside."""

    def __init__(self) -> None:
        TorchDispatchMode.__init__(self)
        self.names: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Keep the name."""
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


@lru_cache(maxsize=1)
def writes_numbers_as_they_are() -> bool:
    """Return whether this torch writes a number into one element without making it a tensor on the host first.

    So it is from 2.15 on (pytorch #188267, #188330): on CUDA it saves an upload and the wait for it.
    """
    with _Seen() as seen:
        torch.zeros(2)[0] = 1.0
    return "aten.fill_.Scalar" in seen.names


@lru_cache(maxsize=1)
def _lists_are_tuples() -> bool:
    """Return whether this torch still takes `x[[[0, 1], [0, 1]]]` for `x[[0, 1], [0, 1]]`."""
    import warnings

    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.empty(2, 2, 2)[[[0, 1], [0, 1]]].dim() == 2


def handlers() -> dict[Any, Handler]:
    """Return the handlers of this family."""
    # Asked before a mode is on, which would answer for its own operators.
    writes_numbers_as_they_are()
    tensor: Any = torch.Tensor
    return {tensor.__getitem__: _getitem, tensor.__setitem__: _setitem}
